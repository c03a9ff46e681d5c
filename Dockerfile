# CPU:    docker build -t voc_seg .
# CUDA:   docker build -t voc_seg:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
# Server: docker build --target serve -t voc_seg:serve .
# Use:    docs/clusters.md, docs/serving.md

# One base image for both: PyTorch's wheels contain the CUDA libraries, and the host provides the driver.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
# Index for torch and torchvision; PyPI's wheels for Linux include CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# In order of change: PyTorch, the other packages, this project.
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > all.txt \
    && grep '^torch' all.txt > torch.txt \
    && pip install --index-url "${TORCH_INDEX}" -r torch.txt \
    && pip install -r all.txt "onnx>=1.17" "onnxruntime>=1.20" "onnxscript>=0.5"
COPY README.md LICENSE ./
COPY src src
RUN pip install --no-deps .

FROM build AS build_serve
RUN python -c "import tomllib; \
        print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['serve'], sep='\n')" \
        > serve.txt \
    && pip install -r serve.txt

FROM ${BASE} AS serve
COPY --from=build_serve /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
# With its group: this image has no user 1000, whose group would then be root.
USER 1000:1000
EXPOSE 8000
# The server answers what it has accepted, then ends.
STOPSIGNAL SIGTERM
# More options follow in docker run; of an option that is given twice, the last counts.
ENTRYPOINT ["voc-seg", "serve", "--host", "0.0.0.0", "--model", "/models/best_model.pth"]

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # Weights downloaded by torchvision stay with the data; caches go where any user may write.
    TORCH_HOME=/app/data/torch \
    MPLCONFIGDIR=/tmp/matplotlib \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
COPY pyproject.toml .telemetry ./
COPY conf conf
RUN useradd --uid 1000 --no-create-home voc_seg \
    && install -d -o voc_seg -g voc_seg /app/data /app/logs /app/conf/local \
    && install -d -m 1777 /app/.viz \
    && install -d /app/src
USER 1000
VOLUME ["/app/data", "/app/logs"]
EXPOSE 4141
# Ctrl-C and docker stop do the same: finish the step, write a checkpoint.
STOPSIGNAL SIGTERM
CMD ["kedro", "run"]
