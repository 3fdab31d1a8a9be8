import { isLoopbackHost } from '../../src/lib/http/networks.ts'
import type { UpstreamsOptions } from './options.ts'

/** Returns the origins to which requests for an upstream, by its name or URL, are sent; none where it compares paths byte by byte (`exactPaths`). */
export const origins =
  (upstreams: UpstreamsOptions) =>
  (nameOrUrl: string): readonly string[] => {
    const upstream = Object.hasOwn(upstreams, nameOrUrl) ? upstreams[nameOrUrl] : undefined
    if (upstream === undefined) return [originOfTarget(nameOrUrl)]
    if (upstream.exactPaths === true) return []
    const { url, targets = [], discover } = upstream
    const urls = [url, ...targets.map((target) => (typeof target === 'string' ? target : target.url))]
    return [
      ...urls.filter((each) => each !== undefined).map(originOfTarget),
      ...(discover === undefined ? [] : [originOfName(discover)])
    ]
  }

function originOfTarget(url: string): string {
  if (!URL.canParse(url)) return url
  const { protocol, hostname, port, origin } = new URL(url)
  if (protocol !== 'http:' && protocol !== 'https:') return url
  // One machine has several names for itself.
  return isLoopbackHost(hostname) ? `${protocol}//loopback${port === '' ? '' : `:${port}`}` : origin
}

function originOfName({ srv, dns, scheme, port }: Readonly<Record<string, unknown>>): string {
  if (typeof srv === 'string') return `srv:${srv.toLowerCase()}`
  return originOfTarget(
    `${String(scheme ?? 'http')}://${String(dns)}${port === undefined ? '' : `:${String(port)}`}`
  )
}
