# The same on a GPU: torch with CUDA, MuJoCo draws by EGL.
#   docker build -f containers/cuda.Dockerfile -t pixyz:cuda .
#   docker run --rm -it --gpus all -v "$PWD:/work" pixyz:cuda train dreamer_v3/cartpole_swingup device=cuda
FROM python:3.11-slim
ENV NVIDIA_DRIVER_CAPABILITIES=all
RUN apt-get update && apt-get install -y --no-install-recommends g++ libegl1 libgl1 libosmesa6 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cu130 \
    && pip install --no-cache-dir -c constraints.txt ".[train,sim,plots,data,video,shell]"
WORKDIR /work
ENTRYPOINT ["pixyz"]
CMD ["doctor"]
