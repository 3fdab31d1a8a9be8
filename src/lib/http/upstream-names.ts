import { nearest } from '../schema.ts'

const URL_PATTERN = /^(https?:\/\/[^/?#\s]+(\/[^?#\s]*)?|unix:\/[^?#\s]+)$/

/** Returns why an http or https URL is none of an upstream; undefined if it is one. */
export function upstreamUrlFault(text: string): string | undefined {
  if (!/^https?:/.test(text) || (URL_PATTERN.test(text) && URL.canParse(text))) return undefined
  const wanted = URL_PATTERN.test(text)
    ? 'a valid host and a port up to 65535'
    : 'neither a query nor a fragment'
  return `expected a URL such as "http://localhost:4001" with ${wanted}, got "${text}"`
}

/** Returns the error of a name that is neither an upstream of the config nor a URL; undefined where there is none. */
export function upstreamFault(name: string, upstreams: readonly string[]): string | undefined {
  if (upstreams.includes(name)) return undefined
  const fault = upstreamUrlFault(name)
  if (fault !== undefined || URL_PATTERN.test(name)) return fault
  const near = nearest(name, upstreams)
  if (near !== undefined) return `No upstream "${name}"; did you mean "${near}"?`
  return upstreams.length === 0
    ? `No upstream "${name}"; the config has none: add it to "upstreams", or use a URL such as "http://localhost:4001"`
    : `No upstream "${name}"; expected one of ${upstreams.join(', ')}, or a URL`
}
