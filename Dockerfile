# docker build -t sallyport . && docker run -p 3000:3000 -v ./gateway:/etc/sallyport:ro sallyport
#
# Debian with the one binary of Node.js, not node:24-slim: no npm, no yarn and no headers, which nothing runs and scanners
# find. Not Alpine: Node.js is built and tested against glibc. Not an image without a shell: operators need one to
# debug.

FROM node:24-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY tools/node-runtime tools/node-runtime
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY tools/bundle.ts tools/run.js tools/
COPY src src
COPY plugins plugins
COPY routes routes
RUN npm run -s build \
 && npm prune --omit=dev --no-audit --no-fund \
 && find dist node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="An API gateway for Node.js" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /usr/local/bin/node /usr/local/bin/node
# Fails here, and not in production, if Debian lacks a library of this Node.js.
RUN ["node", "--version"]
WORKDIR /app
COPY package.json gateway.schema.json LICENSE ./
COPY bin bin
COPY templates templates
COPY dashboard dashboard
COPY deploy/healthcheck.js ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
# Mount the folder of the config, not the file, so that --watch notices a replaced file.
ENV NODE_ENV=production HOST=0.0.0.0 GATEWAY_CONFIG=/etc/sallyport/gateway.json
# A number, since Kubernetes can't check whether a name is root.
USER 65532:65532
EXPOSE 3000 9901
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["node", "healthcheck.js"]
# The gateway is process 1 of the container and gets SIGTERM itself.
ENTRYPOINT ["node", "--max-semi-space-size=4", "--no-allocation-site-pretenuring", "--v8-pool-size=0", "/app/bin/sallyport.js"]
CMD ["run"]
