import { literalTemplate } from '../values.ts'
import type { Scope } from './scope.ts'

// The values of a request, under both names.
const VALUES: Readonly<Record<string, string>> = {
  remote_addr: '{client.ip}',
  binary_remote_addr: '{client.ip}',
  realip_remote_addr: '{client.ip}',
  host: '{host}',
  http_host: '{host}',
  scheme: '{scheme}',
  request_method: '{method}',
  request_id: '{requestId}',
  remote_user: '{caller.name}'
}

/** Returns a text of nginx as a template of ours; undefined if it has a variable without a value of the request. */
export function templateOf(text: string, scope: Scope, depth = 0): string | undefined {
  let made = ''
  let last = 0
  for (const match of text.matchAll(VARIABLE)) {
    made += literalTemplate(text.slice(last, match.index))
    last = match.index + match[0].length
    const value = requestValue(match[1] ?? match[2] ?? '', scope, depth)
    if (value === undefined) return undefined
    made += value
  }
  return made + literalTemplate(text.slice(last))
}

/** Returns a text with the variables that `set` defines filled in, as long as they are constants. */
export function withConstants(text: string, scope: Scope): string {
  return text.replaceAll(VARIABLE, (whole, braced?: string, bare?: string) => {
    const value = scope.variable(braced ?? bare ?? '')
    return value === undefined || value.includes('$') ? whole : value
  })
}

const VARIABLE = /\$\{(\w+)\}|\$(\w+)/g

const MAX_DEPTH = 8

function requestValue(name: string, scope: Scope, depth: number): string | undefined {
  const known = VALUES[name]
  if (known !== undefined) return known
  const [, header, query, cookie] = /^(?:http_(\w+)|arg_(\w+)|cookie_(\w+))$/.exec(name) ?? []
  if (header !== undefined) return `{headers.${header.replaceAll('_', '-')}}`
  if (query !== undefined) return `{query.${query}}`
  if (cookie !== undefined) return `{cookies.${cookie}}`
  const set = scope.variable(name)
  return set === undefined || depth > MAX_DEPTH ? undefined : templateOf(set, scope, depth + 1)
}
