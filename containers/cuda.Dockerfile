# The same on a GPU: torch with CUDA, MuJoCo draws by EGL. A driver too old for CUDA 13: --build-arg CUDA=cu126, where
# PyTorch has this release for it.
#   docker build -f containers/cuda.Dockerfile -t pixyz:cuda .
#   docker run --rm -it --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" pixyz:cuda train dreamer_v3/cartpole_swingup device=cuda
FROM python:3.11-slim
ARG CUDA=cu130
ENV NVIDIA_DRIVER_CAPABILITIES=all
RUN apt-get update && apt-get install -y --no-install-recommends g++ libegl1 libgl1 libosmesa6 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/$CUDA
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[train,sim,plots,data,video,shell]"
# caches of torch and matplotlib, also of a user whom the image does not know
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["pixyz"]
CMD ["doctor"]
