# docker build -t dreamer --build-arg KIND=gpu . && docker run --gpus all dreamer
FROM python:3.11-slim
ARG KIND=cpu
WORKDIR /dreamer
COPY . .
RUN ./run.sh setup --$KIND
VOLUME /dreamer/runs
ENTRYPOINT ["./run.sh"]
