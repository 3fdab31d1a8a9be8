import { LRUCache } from 'lru-cache'
import type { Plan } from '../config/plan-types.ts'
import { describeGateway } from './document.ts'
import { OTHER_HOSTS } from './servers.ts'

/** Returns the document of what requests to a host can reach, in lower case and without a port. */
export type Describer = (host: string) => Readonly<Record<string, unknown>>

// A document may take megabytes, and a config may name thousands of hosts.
const MAX_DOCUMENTS = 16

/** Describes a gateway by the host of a request; hosts that reach the same routes share a document, so that clients can't have more of them made. */
export function makeDescriber(plan: Plan): Describer {
  const documents = new LRUCache<string, Made>({ max: MAX_DOCUMENTS })
  const hosts = new Set(plan.routes.flatMap((route) => route.hosts))
  return (host) => {
    const described = describedHost(hosts, host)
    const key = described ?? ''
    const made = documents.get(key) ?? make(plan, described)
    documents.set(key, made)
    if ('error' in made) throw made.error
    return made.document
  }
}

type Made = { readonly document: Readonly<Record<string, unknown>> } | { readonly error: unknown }

// Files that the config names may be malformed; they are read once for a config, not at each request.
function make(plan: Plan, host: string | undefined): Made {
  try {
    return { document: describeGateway(plan, host).document }
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
