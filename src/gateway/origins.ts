import { isObject } from '../lib/schema.ts'

/** Lists the origins that an upstream, by its name or URL, sends requests to; none where it compares paths byte by byte (`exactPaths`). */
export function originsOf(name: string, upstreams: unknown): string[] {
  const named = isObject(upstreams) && Object.hasOwn(upstreams, name) ? upstreams[name] : undefined
  if (!isObject(named)) return [originOfTarget(name)]
  if (named['exactPaths'] === true) return []
  const targets = Array.isArray(named['targets']) ? named['targets'] : []
  const urls = [named['url'], ...targets.map((target) => (isObject(target) ? target['url'] : target))]
  return [
    ...urls.filter((url) => typeof url === 'string').map(originOfTarget),
    ...(isObject(named['discover']) ? [originOfName(named['discover'])] : [])
  ]
}

// One machine has several names for itself.
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

function originOfTarget(url: string): string {
  if (!URL.canParse(url)) return url
  const { protocol, hostname, port, origin } = new URL(url)
  if (protocol !== 'http:' && protocol !== 'https:') return url
  return LOOPBACK.test(hostname) ? `${protocol}//loopback${port === '' ? '' : `:${port}`}` : origin
}

function originOfName({ srv, dns, scheme, port }: Readonly<Record<string, unknown>>): string {
  if (typeof srv === 'string') return `srv:${srv.toLowerCase()}`
  return originOfTarget(
    `${String(scheme ?? 'http')}://${String(dns)}${port === undefined ? '' : `:${String(port)}`}`
  )
}
