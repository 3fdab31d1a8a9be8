import type { Translation } from '../translation.ts'
import { literalTemplate } from '../values.ts'

const VALUES: Readonly<Record<string, string>> = {
  host: '{host}',
  'http.request.host': '{host}',
  remote_host: '{client.ip}',
  client_ip: '{client.ip}',
  'http.request.remote.host': '{client.ip}',
  'http.vars.client_ip': '{client.ip}',
  scheme: '{scheme}',
  'http.request.scheme': '{scheme}',
  method: '{method}',
  'http.request.method': '{method}',
  path: '{path}',
  'http.request.uri.path': '{path}',
  'http.request.uuid': '{requestId}',
  'http.auth.user.id': '{caller.id}'
}

/** Returns a text of a Caddyfile as a template of ours; undefined if it has a placeholder without a value of the request. */
export function templateOf(text: string, translation: Translation): string | undefined {
  let made = ''
  let last = 0
  for (const match of text.matchAll(/\{(\$?)([\w.$:/-]+)\}/g)) {
    made += literalTemplate(text.slice(last, match.index))
    last = match.index + match[0].length
    const value =
      match[1] === '$' ? variable(match[2] ?? '', translation) : requestValue(match[2] ?? '', translation)
    if (value === undefined) return undefined
    made += value
  }
  return made + literalTemplate(text.slice(last))
}

function requestValue(name: string, translation: Translation): string | undefined {
  const known = VALUES[name]
  if (known !== undefined) return known
  const [, kind = '', key = ''] =
    /^(?:http\.request\.(?:uri\.)?)?(query|header|cookie|env)\.([\w-]+)$/.exec(name) ?? []
  const env = /^env\.(\w+)$/.exec(name)?.[1]
  if (env !== undefined) return translation.variable(env, 'example')
  if (kind === 'query') return `{query.${key}}`
  if (kind === 'header') return `{headers.${key.toLowerCase()}}`
  return kind === 'cookie' ? `{cookies.${key}}` : undefined
}

/** Returns a variable of the environment, `NAME` or `NAME:default`, as ours. */
function variable(written: string, translation: Translation): string | undefined {
  const [, name = '', fallback] = /^([A-Za-z_]\w*)(?::(.*))?$/.exec(written) ?? []
  if (name === '') return undefined
  if (fallback !== undefined) return `\${${name}:-${fallback}}`
  return translation.variable(name, 'example')
}

/** Returns a text whose variables of the environment are ours, for options that are no templates. */
export function withVariables(text: string, translation: Translation, example = 'example'): string {
  let made = ''
  let last = 0
  for (const match of text.matchAll(/\{\$([A-Za-z_]\w*)(?::([^}]*))?\}|\{env\.(\w+)\}/g)) {
    made += text.slice(last, match.index).replaceAll('${', () => '$${')
    last = match.index + match[0].length
    const name = match[1] ?? match[3] ?? ''
    made += match[2] === undefined ? translation.variable(name, example) : `\${${name}:-${match[2]}}`
  }
  return made + text.slice(last).replaceAll('${', () => '$${')
}
