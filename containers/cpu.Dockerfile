# pixyz on a CPU, with simulators, pictures and logs; MuJoCo draws in software.
#   docker build -f containers/cpu.Dockerfile -t pixyz .
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" pixyz train dreamer_v3/cartpole_swingup
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends g++ libosmesa6 libgl1 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[train,sim,plots,data,video,shell]"
# caches of torch and matplotlib, also of a user whom the image does not know
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["pixyz"]
CMD ["doctor"]
