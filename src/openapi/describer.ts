import { LRUCache } from 'lru-cache'
import type { Plan } from '../config/plan-types.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { runSliced } from '../lib/time-slicing.ts'
import { describeInSteps } from './document.ts'
import { OTHER_HOSTS } from './servers.ts'

/** Returns the document of what requests to a host can reach, in lower case and without a port. */
export type Describer = (host: string) => Promise<Readonly<Record<string, unknown>>>

// A route takes about 7 kB in a document, in each of its forms, and a config may name thousands of hosts.
const MAX_DOCUMENTS = 16
const MAX_ROUTES = 2000

/** Describes a gateway by the host of a request; hosts that reach the same routes share a document, so that clients can't have more of them made. */
export function makeDescriber(plan: Plan): Describer {
  const most = Math.floor(MAX_ROUTES / plan.routes.length)
  const documents = new LRUCache<string, Made>({ max: Math.min(Math.max(most, 1), MAX_DOCUMENTS) })
  const hosts = new Set(plan.routes.flatMap((route) => route.hosts))
  const pending = new Map<string, Promise<Made>>()
  let last: Promise<unknown> = Promise.resolve()

  /** Makes a document after the others, so that many hosts take no more of the processor than one. */
  async function enqueue(host: string | undefined, key: string): Promise<Made> {
    const turn = last.then(() => make(plan, host))
    last = turn
    const made = await turn
    documents.set(key, made)
    pending.delete(key)
    return made
  }

  return async function describe(requestHost) {
    const host = describedHost(hosts, requestHost)
    const key = host ?? ''
    const made = documents.get(key) ?? (await getOrCreate(pending, key, () => enqueue(host, key)))
    if ('error' in made) throw made.error
    return made.document
  }
}

type Made = { readonly document: Readonly<Record<string, unknown>> } | { readonly error: unknown }

// Files that the config names may be malformed; they are read once for a config, not at each request.
async function make(plan: Plan, host: string | undefined): Promise<Made> {
  try {
    return { document: (await runSliced(describeInSteps(plan, host))).document }
  } catch (error) {
    return { error }
  }
}

/** Returns the host of the config that a request to a host is for; undefined if there is no other. */
function describedHost(hosts: ReadonlySet<string>, host: string): string | undefined {
  if (hosts.size === 0) return undefined
  if (hosts.has(host)) return host
  const wildcard = `*.${host.slice(host.indexOf('.') + 1)}`
  return host.includes('.') && hosts.has(wildcard) ? wildcard : OTHER_HOSTS
}
