import { isIP } from 'node:net'
import { ConfigError } from '../config/fault.ts'
import { planOf } from '../config/load.ts'
import { objectSource } from '../config/source.ts'
import { catalog } from '../gateway/catalog.ts'
import { startInterval } from '../lib/clock.ts'
import { DOMAINS, isLocalName } from '../lib/local-authority/names.ts'
import { workerNumber } from '../lib/worker-number.ts'
import type { Settings } from '../process/settings.ts'
import type { Command } from './command.ts'
import { type LocalAuthority, openLocalAuthority } from './local-authority/index.ts'
import { trustHint } from './local-authority/trust.ts'
import { CommandError, UsageError } from './outcome.ts'
import { serveGateway } from './serve-gateway.ts'
import { readProcessSettings } from './settings.ts'

const RENEWAL_INTERVAL_MS = 3_600_000

export const command: Command = {
  summary: 'runs a gateway without a config, in front of one service or several targets of it',
  usage: 'sallyport proxy --to URL [--to URL] [--from [HOST:]PORT] [--tls]',
  options: {
    to: {
      type: 'string',
      value: 'URL',
      multiple: true,
      about: 'the service, such as http://localhost:4001; may be repeated'
    },
    from: { type: 'string', value: '[HOST:]PORT', about: 'where to listen; by default 127.0.0.1:3000' },
    tls: { type: 'boolean', about: 'serves https, with a certificate of a local authority that it makes' }
  },
  positionals: [],
  serves: true,
  async run({ values, version }) {
    const targets = ((values['to'] ?? []) as string[]).map(readTarget)
    if (targets.length === 0)
      throw new UsageError(`expected --to, such as --to http://localhost:4001; usage: ${command.usage}`)
    const { settings, host } = readFrom(values['from'], settingsOfProxy(process.env))
    const certificate = values['tls'] === true ? await localCertificate(host) : undefined
    const config = configOf(targets, certificate)
    return serveGateway({
      settings,
      version,
      readPlan: () => planOf(objectSource(config), catalog, process.env),
      onConfigError: throwOptionErrors,
      watchesAll: false,
      listening: (url) =>
        `listening on ${isIP(host) === 0 ? url.replace(ADDRESS, host) : url}, forwarding to ${targets.join(', ')}`
    })
  }
}

// The address in a URL, in brackets if it is one of IPv6.
const ADDRESS = /(?<=\/\/)(\[[^\]]*\]|[^:]*)/

/** Reads the settings of the process. The `.env` of the working directory is that of the service, more likely than not; an admin listener opens only where ADMIN_PORT asks for it. */
function settingsOfProxy(env: NodeJS.ProcessEnv): Settings {
  const settings = readProcessSettings(env)
  return { ...settings, config: 'none', adminPort: env['ADMIN_PORT'] ? settings.adminPort : undefined }
}

/** Returns the config of a gateway with one route. */
function configOf(targets: readonly string[], certificate: string | undefined): object {
  const [first] = targets
  return {
    ...(certificate === undefined
      ? {}
      : {
          tls: { certificates: [{ cert: certificate, key: certificate }] },
          // A browser would insist on https for every other service on localhost.
          securityHeaders: { hsts: false }
        }),
    ...(targets.length === 1 ? {} : { upstreams: { service: { targets } } }),
    routes: [{ path: '/*', proxy: { upstream: targets.length === 1 ? first : 'service' } }]
  }
}

/** Reads a target: a URL, or short for http a host with a port, or a port. */
function readTarget(written: string): string {
  const url = /^:?\d+$/.test(written)
    ? `http://localhost:${written.replace(':', '')}`
    : /^(\[[\da-f:.]+\]|[\w.-]+):\d+$/i.test(written)
      ? `http://${written}`
      : written
  const { protocol, search, hash, username, password } = URL.parse(url) ?? {}
  if (protocol !== 'http:' && protocol !== 'https:' && protocol !== 'unix:')
    throw new UsageError(`--to: expected a URL such as http://localhost:4001, got "${written}"`)
  if (search || hash || username || password)
    throw new UsageError('--to: expected a URL without a user, a query and a fragment, got one with them')
  return url
}

interface From {
  readonly settings: Settings
  /** The host name or address that clients use. */
  readonly host: string
}

/** Reads where to listen. Names below localhost are the loopback address (RFC 6761). */
function readFrom(written: unknown, settings: Settings): From {
  if (written === undefined) return { settings, host: settings.host }
  const [, writtenHost = '', port] = /^(?:(\[[\da-f:.]+\]|[\w.-]*):)?(\d+)$/i.exec(String(written)) ?? []
  if (port === undefined || Number(port) > 65_535)
    throw new UsageError(
      `--from: expected a port such as 8080, or a host and a port such as localhost:8080, got "${String(written)}"`
    )
  const host = writtenHost.replaceAll(/[[\]]/g, '').toLowerCase() || settings.host
  const isLoopback = host === 'localhost' || host.endsWith('.localhost')
  return { host, settings: { ...settings, port: Number(port), host: isLoopback ? '127.0.0.1' : host } }
}

/** Returns the file of a certificate for this machine and a host; it is renewed in time. */
async function localCertificate(host: string): Promise<string> {
  const isAny = host === '0.0.0.0' || host === '::'
  if (!isAny && !isLocalName(host))
    throw new UsageError(
      `--tls: expected localhost, a private address or a name below ${DOMAINS.join(', ')}, got "${host}"; for a public name use a config with "tls.acme"`
    )
  const names = [...new Set([...(isAny ? [] : [host]), 'localhost', '127.0.0.1', '::1'])]
  const authority = await openLocalAuthority()
  const file = await authority.certificateFor(names)
  // Workers get the certificate that their primary has made.
  if (workerNumber(process.env) === undefined) {
    const { isNew, root } = authority
    process.stderr.write(isNew ? trustHint(root, process.platform) : `Local certificate authority: ${root}\n`)
    startInterval(() => void renew(authority, names), RENEWAL_INTERVAL_MS).unref()
  }
  return file
}

/** Renews a certificate that ends soon; the gateway reloads when its file changes. */
async function renew(authority: LocalAuthority, names: readonly string[]): Promise<void> {
  try {
    await authority.certificateFor(names)
  } catch (error) {
    process.stderr.write(`warning: the local certificate can't be renewed: ${String(error)}\n`)
  }
}

function throwOptionErrors(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error
  const lines = error.faults.map(({ path, message }) =>
    /upstream|targets/.test(path) ? `--to: ${message}` : message
  )
  throw new CommandError(lines.join('\n'))
}
