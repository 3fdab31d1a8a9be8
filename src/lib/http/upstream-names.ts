import { nearest } from '../schema.ts'

const URL_PATTERN = /^(https?:\/\/[^/?#\s]+(\/[^?#\s]*)?|unix:\/[^?#\s]+)$/

/** Returns the error of a name that is neither an upstream of the config nor a URL; undefined where there is none. */
export function upstreamFault(name: string, upstreams: readonly string[]): string | undefined {
  if (upstreams.includes(name) || URL_PATTERN.test(name)) return undefined
  const near = nearest(name, upstreams)
  if (near !== undefined) return `No upstream "${name}"; did you mean "${near}"?`
  return upstreams.length === 0
    ? `No upstream "${name}"; the config has none: add it to "upstreams", or use a URL such as "http://localhost:4001"`
    : `No upstream "${name}"; expected one of ${upstreams.join(', ')}, or a URL`
}
