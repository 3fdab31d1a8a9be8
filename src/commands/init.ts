import { randomBytes } from 'node:crypto'
import { access, readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findConfig } from '../config/find-config.ts'
import { NODE_FLAGS } from '../process/node-flags.ts'
import type { Command } from './command.ts'
import { CommandError, UsageError } from './outcome.ts'
import { JSON_OPTION, printJson } from './print-json.ts'
import { writeNew } from './replace-file.ts'

/** The templates by name, each with what to type once it is written. */
const TEMPLATES: Readonly<Record<string, string>> = {
  spa: 'npx sallyport user add ada && npx sallyport, then open http://localhost:3000/',
  jwt: 'npx sallyport, then curl -H "authorization: Bearer $(node token.cjs ada)" http://localhost:3000/me',
  oidc: 'npx sallyport, once your provider is in .env; then open http://localhost:3000/app',
  microservices:
    'npx sallyport key add me && npx sallyport, then curl -H "x-api-key: KEY" http://localhost:3000/v1/users/7'
}
const NAMES = Object.keys(TEMPLATES)

export const command: Command = {
  summary: 'writes a config, an .env and a Dockerfile to start from, or a plugin',
  usage: `sallyport init [DIR] [--template ${NAMES.join('|')}] [--json], or sallyport init [DIR] --plugin NAME [--target] [--json]`,
  options: {
    template: {
      type: 'string',
      short: 't',
      value: NAMES,
      about: 'what to start from; by default a route that says hello'
    },
    plugin: {
      type: 'string',
      value: 'NAME',
      about: 'writes the package of a concern of this name instead'
    },
    target: { type: 'boolean', about: 'with --plugin, writes a target' },
    json: JSON_OPTION
  },
  positionals: ['DIR'],
  async run({ positionals, values, version }) {
    const { template, json, plugin, target } = values
    if (plugin !== undefined) {
      if (template !== undefined)
        throw new UsageError(`--plugin: expected no --template beside it; usage: ${command.usage}`)
      // It knows all concerns, which take long to load.
      const { initPlugin } = await import('./init-plugin.ts')
      const kind = target === true ? 'target' : 'concern'
      const written = await initPlugin(String(plugin), kind, { folder: positionals[0], version })
      report(written, 'npm install && npm test', json === true ? 'json' : 'text')
      return 0
    }
    if (target !== undefined)
      throw new UsageError(`--target: expected --plugin NAME beside it; usage: ${command.usage}`)
    const [folder = '.'] = positionals
    if (template !== undefined && !NAMES.includes(String(template)))
      throw new UsageError(
        `--template: expected one of ${NAMES.join(', ')}, got "${String(template)}"; usage: ${command.usage}`
      )
    const files = await filesOf(String(template ?? 'hello'))
    // Existing files are never overwritten; one of these three stops the command.
    for (const name of [findConfig(folder), '.env', 'Dockerfile'])
      if (await exists(join(folder, name)))
        throw new CommandError(
          `There is a ${name} in ${folder} already; nothing was written. Name another folder: sallyport init gateway`
        )
    const written: string[] = []
    for (const [name, text] of files) {
      const file = join(folder, name)
      if (await exists(file)) continue
      await writeNew(file, text, PRIVATE.has(name) ? 0o600 : 0o644)
      written.push(relative('.', file))
    }
    const next = TEMPLATES[String(template)] ?? 'npx sallyport, then curl http://localhost:3000/hello/you'
    report({ files: written, folder }, next, json === true ? 'json' : 'text')
    return 0
  }
}

/** Prints what was written, and what to type now. */
function report(
  { files, folder }: { readonly files: readonly string[]; readonly folder: string },
  next: string,
  format: 'json' | 'text'
): void {
  if (format === 'json') printJson({ files })
  else
    process.stdout.write(
      `Wrote ${files.join(', ')}.\nNow: ${folder === '.' ? '' : `cd ${folder} && `}${next}\n`
    )
}

// What holds secrets, or hashes of them, is for its owner alone.
const PRIVATE: ReadonlySet<string> = new Set(['.env', 'users.json', 'keys.json'])

/** Returns the files of a template by their paths, with those that all templates share. */
async function filesOf(template: string): Promise<Map<string, string>> {
  const root = join(
    dirname(fileURLToPath(import.meta.resolve('sallyport/package.json'))),
    'templates',
    template
  )
  // The config is the first file in the list of what was written.
  const files = new Map([['gateway.json', '']])
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const file = join(entry.parentPath, entry.name)
      files.set(relative(root, file), await readFile(file, 'utf8'))
    }
  return files
    .set('.env', withSecrets(files.get('.env.example') ?? ''))
    .set('.gitignore', GITIGNORE)
    .set('Dockerfile', DOCKERFILE)
    .set('.dockerignore', DOCKERIGNORE)
}

/** Fills in a random value for each secret that has none; that of an OpenID Connect client comes from the provider. */
const withSecrets = (example: string): string =>
  example.replaceAll(
    /^(SESSION_SECRET|JWT_SECRET)=$/gm,
    (_line, name: string) => `${name}=${randomBytes(32).toString('base64')}`
  )

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false
  )

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
