/** Returns the bytes of a request after which the connection closes. */
export function bytes(
  target: string,
  {
    method = 'GET',
    version = '1.1',
    host = 'gateway.test',
    lines = []
  }: Partial<Record<'method' | 'version' | 'host', string>> & { lines?: readonly string[] } = {}
): string {
  return [`${method} ${target} HTTP/${version}`, `Host: ${host}`, 'Connection: close', ...lines, '', ''].join(
    '\r\n'
  )
}

/** Returns the error code in the body of a response. */
export const codeOf = (answer: string): string => /"code":"(\w+)"/.exec(answer)?.[1] ?? ''
/** Returns a header of a response. */
export const headOf = (answer: string, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)\r$`, 'im').exec(answer)?.[1]
/** Returns the body of a response. */
export const textOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)
