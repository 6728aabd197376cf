# Two stages: one builds the wheel, the other holds the broker and what it runs on.
#
#   docker build -t quantummq .
#   docker run -p 1883:1883 -v quantummq:/var/lib/quantummq quantummq
#
# A container's port is open to other machines, so that the broker makes a user and a password when it first starts, and
# prints them once. With a configuration of your own: … quantummq run --config /etc/quantummq/quantummq.toml

FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python3 -m venv /build \
    && /build/bin/pip wheel --no-deps --wheel-dir /wheels . \
    && mkdir /state

FROM python:3.11-slim-bookworm
COPY --from=build /wheels /wheels
RUN python3 -m venv /opt/quantummq \
    && /opt/quantummq/bin/pip install --no-cache-dir /wheels/*.whl
COPY --from=build --chown=10001:10001 /state /var/lib/quantummq
ENV PATH=/opt/quantummq/bin:$PATH \
    STATE_DIRECTORY=/var/lib/quantummq
USER 10001:10001
VOLUME /var/lib/quantummq
EXPOSE 1883
STOPSIGNAL SIGTERM
ENTRYPOINT ["quantummq"]
CMD ["run", "--lan"]
