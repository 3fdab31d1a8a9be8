import { randomBytes } from 'node:crypto'
import { access, mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { NODE_FLAGS } from '../process/node-flags.ts'
import type { Command } from './command.ts'
import { CommandError } from './outcome.ts'

export const command: Command = {
  summary: 'writes a config, an .env and a Dockerfile to start from',
  usage: 'sallyport init [DIR]',
  options: {},
  positionals: ['DIR'],
  async run({ positionals: [folder = '.'] }) {
    const files = {
      'gateway.json': CONFIG,
      '.env': environment(),
      '.gitignore': GITIGNORE,
      Dockerfile: DOCKERFILE,
      '.dockerignore': DOCKERIGNORE
    }
    // Existing files are never overwritten; one of these three stops the command.
    for (const name of ['gateway.json', '.env', 'Dockerfile'])
      if (await exists(join(folder, name)))
        throw new CommandError(
          `There is a ${name} in ${folder} already; nothing was written. Name another folder: sallyport init gateway`
        )
    await mkdir(folder, { recursive: true })
    const written: string[] = []
    for (const [name, text] of Object.entries(files)) {
      if (await exists(join(folder, name))) continue
      await writeFile(join(folder, name), text, { mode: name === '.env' ? 0o600 : 0o644 })
      written.push(relative('.', join(folder, name)))
    }
    const enter = folder === '.' ? '' : `cd ${folder} && `
    process.stdout.write(
      `Wrote ${written.join(', ')}.\nNow: ${enter}npx sallyport, then curl http://localhost:3000/hello/you\n`
    )
    return 0
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false
  )

const CONFIG = `{
  "$schema": "./node_modules/sallyport/gateway.schema.json",

  // The default of every route; what a route sets itself is merged over it.
  "rateLimit": { "max": 100, "window": "1m" },

  "routes": [
    // A route that works right away.
    { "path": "/hello/:name", "respond": { "body": "Hello, {params.name}!\\n" } }

    // The next one: everything below /api goes to a service of yours, without the /api.
    // , { "path": "/api/*", "proxy": { "upstream": "http://localhost:4001", "rewrite": "/" } }
  ]
}
`

const environment = (): string => `# Settings of the process; gateway.json configures the gateway.
# HOST is 127.0.0.1 by default, and 0.0.0.0 in the image of the Dockerfile.
PORT=3000
# Signs session cookies. It is a secret: keep this file out of version control.
SESSION_SECRET=${randomBytes(32).toString('base64')}
`

const GITIGNORE = 'node_modules/\n.env\n'

const DOCKERIGNORE = 'node_modules\n.env\n.git\n'

// Tries HTTP, then TLS. A gateway that requires client certificates is alive if it refuses this client.
const HEALTHCHECK = `const options = { host: '127.0.0.1', port: process.env.PORT || 3000, path: '/-/live', rejectUnauthorized: false }
const ask = (scheme) => new Promise((resolve, reject) => require(scheme).get(options, (response) => resolve(response.statusCode === 200)).on('error', reject))
const isRefusal = ({ code, message }) => /CERTIFICATE_REQUIRED|alert/i.test(code + message)
ask('http').catch(() => ask('https')).catch(isRefusal).then((ok) => process.exit(ok ? 0 : 1))`

const DOCKERFILE = `# docker build -t gateway .
# docker run --env-file .env -p 3000:3000 gateway
FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
# What package.json names is installed, archives beside it included; without one, the newest Sallyport.
COPY Dockerfile package*.json *.tgz ./
RUN if [ -f package.json ]; then npm install --omit=dev; fi \\
 && if [ ! -d node_modules/sallyport ]; then npm install --omit=dev sallyport; fi \\
 && npm cache clean --force
# The config and all it names: included files, extensions, users.json, keys.json, certificates. To keep a private key
# out of the image, add it to .dockerignore and mount it: -v ./certs:/app/certs:ro
COPY --chown=node:node . .
USER node
EXPOSE 3000
HEALTHCHECK CMD ["node", "-e", ${JSON.stringify(HEALTHCHECK.replaceAll('\n', '; '))}]
CMD ["node", ${NODE_FLAGS.map((flag) => JSON.stringify(flag)).join(', ')}, "node_modules/sallyport/bin/sallyport.js"]
`
