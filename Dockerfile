# syntax=docker/dockerfile:1

# The sandwich command, alone in an image: a static binary, the certificates of the
# public authorities, and a user who is not root.
#
#   docker build -t sandwich .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" sandwich build manifest.yaml
#
# Both bases are pinned by the digest of their multi-platform index. To renew one:
#   docker buildx imagetools inspect golang:1.26.8-bookworm
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d AS build
WORKDIR /src

# The modules change less often than the sources, so they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download && go mod verify

COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -o /out/sandwich ./cmd/sandwich \
 && install -d -m 1777 /out/cache /out/work

FROM gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab
COPY --from=build /out/sandwich /usr/local/bin/sandwich
# Writable for whoever the container runs as; mount a volume to keep the cache.
COPY --from=build /out/cache /cache
COPY --from=build /out/work /work
ENV SANDWICH_CACHE=/cache
WORKDIR /work
USER nonroot:nonroot
ENTRYPOINT ["/usr/local/bin/sandwich"]
