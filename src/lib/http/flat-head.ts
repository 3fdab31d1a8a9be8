/** A flat list of lower-case names and values in turn, the Host first; each character is one byte. */
export type RequestHead = string[]

/** Writes the head of a request that the gateway originates, such as a health check. */
export function ownHead(host: string, headers: Readonly<Record<string, string>>): RequestHead {
  const head: RequestHead = ['host', host]
  for (const [name, value] of Object.entries(headers)) head.push(name, value)
  return head
}

/** Copies a head for another host. */
export const headForHost = (head: readonly string[], host: string): RequestHead => [
  'host',
  host,
  ...head.slice(2)
]

/** Returns a header of a flat head, several fields as one list; undefined for none. */
export function headerOf(head: readonly string[], name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i < head.length; i += 2)
    if (head[i] === name) value = value === undefined ? head[i + 1] : `${value}, ${head[i + 1]}`
  return value
}

/** Sets a header of a flat head, or removes it where there is no value. */
export function setHeader(head: string[], name: string, value: string | undefined): void {
  for (let i = head.length - 2; i >= 0; i -= 2) if (head[i] === name) head.splice(i, 2)
  if (value !== undefined) head.push(name, value)
}
