FROM python:3.11-slim
RUN useradd --create-home --uid 10001 cartridges && mkdir /data && chown cartridges /data
WORKDIR /srv
COPY pyproject.toml constraints.txt README.md ./
COPY app ./app
COPY evaluation ./evaluation
COPY reader ./reader
COPY training ./training
COPY inference ./inference
COPY retrieval ./retrieval
COPY cartridge_store ./cartridge_store
COPY benchmarks ./benchmarks
# Extras of pyproject.toml, such as fleet,s3.
ARG EXTRAS=""
RUN pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
USER cartridges
VOLUME /data
ENTRYPOINT ["cartridges"]
