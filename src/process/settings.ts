import { availableParallelism } from 'node:os'
import { duration } from '../lib/units.ts'
import { WORKER } from '../lib/worker-number.ts'

/** What a process is; a change needs a restart. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly config: string
  /** How many processes serve requests. */
  readonly workers: number
  readonly adminHost: string
  /** undefined for no admin listener. */
  readonly adminPort: number | undefined
  /** undefined where none is wanted. */
  readonly adminToken: string | undefined
  readonly logLevel: string
  readonly logPretty: boolean
  /** The sockets that were opened before the process began, by file descriptor; undefined where it opens its own. */
  readonly inherited: Inherited
  /** Milliseconds. */
  readonly drainDelay: number
  /** Milliseconds. */
  readonly drainTimeout: number
}

/** Sockets that systemd has opened (socket activation); with them HOST and PORT say nothing. */
export interface Inherited {
  readonly main?: number
  /** In the place of `tls.redirectFrom`. */
  readonly redirect?: number
  /** In the place of ADMIN_HOST and ADMIN_PORT. */
  readonly admin?: number
}

/** One variable of the environment. */
export interface Variable {
  readonly name: string
  readonly fallback: string
  readonly about: string
}

/** The variables of the environment, in the order of .env.example. */
export const variables: readonly Variable[] = [
  {
    name: 'HOST',
    fallback: '127.0.0.1',
    about: 'The address to listen on; 0.0.0.0 for all, as the container image has it.'
  },
  { name: 'PORT', fallback: '3000', about: 'The port to listen on; 0 for any free one.' },
  {
    name: 'GATEWAY_CONFIG',
    fallback: 'gateway.json',
    about: 'The config file: JSON with comments, YAML, or a .ts or .js module.'
  },
  {
    name: 'WORKERS',
    fallback: '1',
    about: 'How many processes serve requests: a number, or auto for one a core.'
  },
  {
    name: 'LOG_LEVEL',
    fallback: 'info',
    about: 'The least level that is logged: trace, debug, info, warn, error, fatal or silent.'
  },
  {
    name: 'LOG_PRETTY',
    fallback: 'false',
    about: 'Whether the log is for a person at a terminal instead of one JSON object a line.'
  },
  {
    name: 'ADMIN_HOST',
    fallback: '127.0.0.1',
    about: 'The address of the admin listener, which tells /metrics, /status and /config.'
  },
  {
    name: 'ADMIN_PORT',
    fallback: '9901',
    about: 'Its port; empty for no admin listener, 0 for any free one.'
  },
  {
    name: 'ADMIN_TOKEN',
    fallback: '',
    about: 'What it wants to be told, as Authorization: Bearer; empty for nothing.'
  },
  {
    name: 'DRAIN_DELAY',
    fallback: '0s',
    about: 'How long a process that is told to stop still takes requests, while /-/ready says 503.'
  },
  { name: 'DRAIN_TIMEOUT', fallback: '30s', about: 'How long requests in flight may take after that.' },
  {
    name: 'SESSION_SECRET',
    fallback: '',
    about: 'What signs session cookies, 32 characters or more: openssl rand -base64 32.'
  },
  {
    name: 'REDIS_URL',
    fallback: '',
    about: 'The Redis or Valkey that several instances share; empty: the memory of this process.'
  }
]

/** What is wrong with the environment; its message says what would do. */
export class SettingsError extends Error {}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Reads the settings of a process from its environment; throws a SettingsError. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const said = (name: string): string => {
    const value = env[name]
    return value === undefined || value === ''
      ? (variables.find((one) => one.name === name)?.fallback ?? '')
      : value
  }
  const portOf = (name: string): number => {
    const port = Number(said(name))
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new SettingsError(`${name} is "${said(name)}"; a number from 0 to 65535 would do`)
    return port
  }
  const logLevel = said('LOG_LEVEL')
  if (!LEVELS.includes(logLevel))
    throw new SettingsError(`LOG_LEVEL is "${logLevel}"; one of ${LEVELS.join(', ')} would do`)
  const time = (name: string): number => {
    try {
      return duration(said(name))
    } catch {
      throw new SettingsError(`${name} is "${said(name)}"; a duration such as "30s" would do`)
    }
  }
  return {
    host: said('HOST'),
    port: portOf('PORT'),
    config: said('GATEWAY_CONFIG'),
    workers: workersOf(said('WORKERS')),
    adminHost: said('ADMIN_HOST'),
    // Here an empty value is one: no listener.
    adminPort: env['ADMIN_PORT'] === '' ? undefined : portOf('ADMIN_PORT'),
    adminToken: said('ADMIN_TOKEN') === '' ? undefined : said('ADMIN_TOKEN'),
    logLevel,
    logPretty: ['1', 'true', 'yes'].includes(said('LOG_PRETTY').toLowerCase()),
    inherited: inheritedFrom(env),
    drainDelay: time('DRAIN_DELAY'),
    drainTimeout: time('DRAIN_TIMEOUT')
  }
}

// More than this is a slip of the hand.
const MOST_WORKERS = 1024

function workersOf(said: string): number {
  if (said === 'auto') return availableParallelism()
  const workers = Number(said)
  if (!Number.isInteger(workers) || workers < 1 || workers > MOST_WORKERS)
    throw new SettingsError(`WORKERS is "${said}"; a number from 1 on, or auto, would do`)
  return workers
}

// Where systemd begins to number what it hands over (sd_listen_fds(3)).
const FIRST_FD = 3

/** Finds the sockets that were handed to this process, or to the primary of which it is a worker: by their names "redirect" and "admin", any other one is the main one. */
function inheritedFrom(env: Readonly<Record<string, string | undefined>>): Inherited {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env
  // A worker listens by the primary, to whom they were handed.
  if (LISTEN_PID !== String(env[WORKER] === undefined ? process.pid : process.ppid)) return {}
  const names = LISTEN_FDNAMES.split(':')
  const found: { -readonly [K in keyof Inherited]: Inherited[K] } = {}
  for (let i = Number(LISTEN_FDS) - 1; i >= 0; i--) {
    const name = names[i]
    found[name === 'redirect' || name === 'admin' ? name : 'main'] = FIRST_FD + i
  }
  return found
}
