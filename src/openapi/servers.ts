/** Stands for all hosts that no route names. */
export const OTHER_HOSTS = '*'

/** Returns the servers of the hosts of a route; undefined if they are those of the document. */
export function serversOf(hosts: readonly string[], publicUrl: string | undefined): object[] | undefined {
  const main = publicUrl === undefined ? undefined : new URL(publicUrl)
  if (hosts.length === 0 || hosts.includes(OTHER_HOSTS)) return undefined
  if (hosts.length === 1 && hosts[0] === main?.hostname) return undefined
  return hosts.toSorted().map((host) => {
    if (host === main?.hostname) return { url: main.origin }
    // Other hosts are reached as the public one, by the same scheme and port.
    const url = (name: string): string =>
      `${main?.protocol ?? 'https:'}//${name}${main === undefined || main.port === '' ? '' : `:${main.port}`}`
    if (!host.startsWith('*.')) return { url: url(host) }
    return {
      url: url(`{label}${host.slice(1)}`),
      variables: { label: { default: 'www', description: `Any one label: ${host}.` } }
    }
  })
}
