# kvd and kvctl. Build from the root of the repository: docker build -t kvorum .
FROM node:24-slim AS build
WORKDIR /kvorum
COPY package.json package-lock.json .npmrc tsconfig.base.json tsconfig.build.json ./
COPY packages packages
# LevelDB comes as a prebuilt binary for this platform: no install script has to run.
RUN npm ci --ignore-scripts && npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-slim
LABEL org.opencontainers.image.title="kvorum" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /kvorum
COPY --from=build /kvorum/package.json ./
COPY --from=build /kvorum/node_modules node_modules
COPY --from=build /kvorum/packages packages
RUN ln -s /kvorum/packages/server/dist/main.js /usr/local/bin/kvd \
 && ln -s /kvorum/packages/kvctl/dist/main.js /usr/local/bin/kvctl \
 && chmod +x packages/server/dist/main.js packages/kvctl/dist/main.js \
 && mkdir /var/lib/kvorum && chown node:node /var/lib/kvorum
ENV NODE_ENV=production \
    KVD_DATA_DIR=/var/lib/kvorum \
    KVD_LISTEN_CLIENT=0.0.0.0:2379 \
    KVD_LISTEN_PEER=0.0.0.0:2380
USER node
VOLUME /var/lib/kvorum
EXPOSE 2379 2380
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/kvorum/packages/server/dist/main.js"]
