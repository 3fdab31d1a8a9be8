import { literal, literalTemplate } from '../values.ts'

/** Translates `{id}`, `{JWT.sub}` and `{resp0_id}` of a url_pattern; undefined if one of them is unknown. */
export function templateOf(pattern: string, legs: readonly string[]): string | undefined {
  let made = ''
  let end = 0
  for (const { 0: whole, 1: name = '', index } of pattern.matchAll(/\{([^{}]*)\}/g)) {
    made += literalTemplate(pattern.slice(end, index))
    const value = requestValue(name, legs)
    if (value === undefined) return undefined
    made += value
    end = index + whole.length
  }
  made += literalTemplate(pattern.slice(end))
  return made.startsWith('/') ? made : `/${made}`
}

function requestValue(name: string, legs: readonly string[]): string | undefined {
  const [, leg, path] = /^resp(\d+)_([\w.-]+)$/.exec(name) ?? []
  if (leg !== undefined) {
    const named = legs[Number(leg)]
    return named === undefined ? undefined : `{legs.${named}.${path}}`
  }
  const claim = /^JWT\.([\w.-]+)$/.exec(name)?.[1]
  if (claim !== undefined) return claim === 'sub' ? '{caller.id}' : `{caller.claims.${claim}}`
  return /^\w+$/.test(name) ? `{params.${name}}` : undefined
}

/** Translates the path of an endpoint, `/users/{id}`. */
export const pathOf = (endpoint: string): string =>
  literal(endpoint.replaceAll(/\{(\w+)\}/g, ':$1')).replace(/\/\*\w+$/, '/*')
