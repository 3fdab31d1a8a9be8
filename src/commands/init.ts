import { randomBytes } from 'node:crypto'
import { access, mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Command } from '../main.ts'
import { NODE_FLAGS } from '../process/node-flags.ts'
import { CommandError } from './outcome.ts'

export const command: Command = {
  summary: 'writes a config, an .env and a Dockerfile to start from',
  usage: 'sallyport init [DIR]',
  options: {},
  words: 1,
  async run({ words: [folder = '.'] }) {
    const files = {
      'gateway.json': CONFIG,
      '.env': env(),
      '.gitignore': IGNORED,
      Dockerfile: DOCKERFILE,
      '.dockerignore': NOT_IN_IMAGE
    }
    // What is there already stays: a .gitignore of one's own is no reason to stop, a config is.
    for (const name of ['gateway.json', '.env', 'Dockerfile'])
      if (await exists(join(folder, name)))
        throw new CommandError(
          `There is a ${name} in ${folder} already; nothing was written. Another folder would do: sallyport init gateway`
        )
    await mkdir(folder, { recursive: true })
    const written: string[] = []
    for (const [name, text] of Object.entries(files)) {
      if (await exists(join(folder, name))) continue
      await writeFile(join(folder, name), text, { mode: name === '.env' ? 0o600 : 0o644 })
      written.push(relative('.', join(folder, name)))
    }
    const go = folder === '.' ? '' : `cd ${folder} && `
    process.stdout.write(
      `Wrote ${written.join(', ')}.\nNow: ${go}npx sallyport, then curl http://localhost:3000/hello/you\n`
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

  // What holds for every route; a route's own word is merged over it.
  "rateLimit": { "max": 100, "window": "1m" },

  "routes": [
    // A route that works at once.
    { "path": "/hello/:name", "respond": { "body": "Hello, {params.name}!\\n" } }

    // The next one: everything below /api goes to a service of yours, without the /api.
    // , { "path": "/api/*", "proxy": { "upstream": "http://localhost:4001", "rewrite": "/" } }
  ]
}
`

const env = (): string => `# What this process is; gateway.json says what the gateway does.
HOST=127.0.0.1
PORT=3000
LOG_PRETTY=true
# Signs session cookies. It is a secret: keep this file out of version control.
SESSION_SECRET=${randomBytes(32).toString('base64')}
`

const IGNORED = 'node_modules/\n.env\n'

const NOT_IN_IMAGE = 'node_modules\n.env\n.git\n'

const DOCKERFILE = `# docker build -t gateway . && docker run -p 3000:3000 gateway
FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
RUN npm install --omit=dev sallyport && npm cache clean --force
COPY gateway.json ./
USER node
EXPOSE 3000
HEALTHCHECK CMD ["node", "-e", "fetch('http://127.0.0.1:3000/-/live').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", ${NODE_FLAGS.map((flag) => JSON.stringify(flag)).join(', ')}, "node_modules/sallyport/bin/sallyport.js"]
`
