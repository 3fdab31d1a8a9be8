import type { FastifyRequest } from 'fastify'

/** Percent-encodes a value for a path segment or a query parameter of a URL. */
export const encodeValue = (value: string): string => encodeURIComponent(value.toWellFormed())

/** Returns the path of a request, without its query. */
export function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '/'
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** Returns the query of a raw URL with its question mark, unchanged; empty for none. */
export function queryOf(url: string): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start)
}

/** Returns the first value of a query parameter, decoded; undefined for none. */
export function queryValue(url: string, name: string): string | undefined {
  return new URLSearchParams(queryOf(url)).get(name) ?? undefined
}

/** Returns the name of a query parameter, given as written, decoded; unchanged if its encoding is malformed. */
export function parameterName(pair: string): string {
  const end = pair.indexOf('=')
  const name = (end === -1 ? pair : pair.slice(0, end)).replaceAll('+', ' ')
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
