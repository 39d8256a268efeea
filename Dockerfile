# All that the commands need, in a container: docker build -t abc-hw . && docker run --rm -it -v "$PWD/runs:/runs" abc-hw
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ git iverilog libpython3.11 make perl python3 \
    python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY . /opt/abc-hw
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    torch==2.13.0+cpu \
 && /opt/venv/bin/pip install --no-cache-dir '/opt/abc-hw[train,sim,board]'
ENV PATH="/opt/venv/bin:$PATH"
WORKDIR /runs
ENTRYPOINT ["abc-hw"]
CMD ["--help"]
