import { isJsonObject, type Json, type JsonObject, objectAt } from '../../json.ts'
import { secretHeader } from '../../secret-headers.ts'
import type { SourceNode } from '../../source-node.ts'
import { literal, literalTemplate } from '../../values.ts'
import type { Plugin } from '../source.ts'
import type { RouteContext } from './context.ts'

/** Translates request-transformer: headers, query and JSON bodies. */
export function addRequestTransformer({ config, node }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  if (config.get('rename').get('querystring').items.length > 0) {
    context.close(node.line, 'request-transformer: rename.querystring')
    return
  }
  const uri = config.get('replace').get('uri')
  if (uri.exists && !replacePath(uri.text ?? '', context)) {
    context.close(node.line, 'request-transformer: replace.uri')
    return
  }
  if (config.get('http_method').exists) {
    context.close(node.line, 'request-transformer: http_method')
    return
  }
  const headers = headerChanges(config, context, 'request')
  if (Object.keys(headers).length > 0) objectAt(route, 'headers')['request'] = headers
  const query: JsonObject = {}
  for (const name of config.get('remove').get('querystring').texts) query[name] = false
  for (const action of ['add', 'replace', 'append'])
    for (const [name, value] of pairs(config.get(action).get('querystring')))
      query[name] = template(value, context) ?? false
  if (Object.keys(query).length > 0) route['query'] = query
  const body = bodyChanges(config, 'body')
  if (Object.keys(body).length > 0) objectAt(route, 'transform')['request'] = body
  translation.done()
}

/** Puts another path in place of that of the route; returns whether ours can say it: of an exact path, at a service without a path of its own, which Kong replaces, too. */
function replacePath(uri: string, context: RouteContext): boolean {
  const { route, translation } = context
  const proxy = route['proxy']
  const upstreams = translation.config['upstreams']
  const upstream = isJsonObject(proxy) ? String(proxy['upstream']) : ''
  const targets = (isJsonObject(upstreams) ? upstreams[upstream] : undefined) ?? upstream
  if (/:\/\/[^"/]+\/[^"]/.test(JSON.stringify(targets))) return false
  const isExact = [route['path']].flat().every((path) => typeof path === 'string' && !path.endsWith('/*'))
  const rewrite = /^\/[^?#]*$/.test(uri) && isExact ? template(uri, context) : undefined
  if (rewrite === undefined || upstream === '') return false
  objectAt(route, 'proxy')['rewrite'] = rewrite
  return true
}

/** Translates response-transformer: headers and JSON bodies. */
export function addResponseTransformer({ config }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const headers = headerChanges(config, context, 'response')
  if (Object.keys(headers).length > 0) objectAt(route, 'headers')['response'] = headers
  const body = bodyChanges(config, 'json')
  if (Object.keys(body).length > 0) objectAt(route, 'transform')['response'] = body
  translation.done()
}

function headerChanges(config: SourceNode, context: RouteContext, of: 'request' | 'response'): JsonObject {
  const { route, translation } = context
  const changes: JsonObject = {}
  for (const name of config.get('remove').get('headers').texts) changes[name.toLowerCase()] = false
  for (const [from, to] of pairs(config.get('rename').get('headers'))) {
    changes[from.toLowerCase()] = false
    if (of === 'request') changes[to.toLowerCase()] = `{headers.${from.toLowerCase()}}`
    else
      translation.missing(
        config.get('rename').line,
        `rename of the response header ${from}, which is removed`,
        route
      )
  }
  // Kong replaces a header only where there is one. A header that is always set can't be the client's either.
  const forms: [action: string, change: (text: string) => Json][] = [
    ['replace', (text) => text],
    ['add', (text) => ({ default: text })],
    ['append', (text) => ({ add: text })]
  ]
  for (const [action, change] of forms)
    for (const [name, value] of pairs(config.get(action).get('headers'))) {
      const secret = secretHeader(name.toLowerCase(), value, translation)
      const text = secret ?? (of === 'request' ? template(value, context) : literalTemplate(value))
      const key = name.toLowerCase()
      // What is removed or replaced first is not the client's any more.
      const isSettled = Object.hasOwn(changes, key)
      changes[key] = text === undefined ? false : isSettled ? text : change(text)
    }
  return changes
}

function bodyChanges(config: SourceNode, key: string): JsonObject {
  const changes: JsonObject = {}
  const omit = config.get('remove').get(key).texts
  if (omit.length > 0) changes['omit'] = omit.map(literal)
  const rename = pairs(config.get('rename').get(key)).map(
    ([from, to]) => [literal(from), literal(to)] as const
  )
  if (rename.length > 0) changes['rename'] = Object.fromEntries(rename)
  const set = ['add', 'replace', 'append'].flatMap((action) =>
    pairs(config.get(action).get(key)).map(
      ([name, value]) => [literal(name), literalTemplate(value)] as const
    )
  )
  if (set.length > 0) changes['set'] = Object.fromEntries(set)
  return changes
}

/** Splits texts such as "name:value". */
function pairs(node: SourceNode): [name: string, value: string][] {
  return node.texts.flatMap((text): [string, string][] => {
    const at = text.indexOf(':')
    return at < 1 ? [] : [[text.slice(0, at).trim(), text.slice(at + 1).trim()]]
  })
}

const TEMPLATES: readonly (readonly [RegExp, string])[] = [
  [/^headers(?:\.|\[["'])([\w-]+)(?:["']\])?$/, 'headers'],
  [/^query_params(?:\.|\[["'])([\w-]+)(?:["']\])?$/, 'query'],
  [/^uri_captures(?:\.|\[["'])([\w-]+)(?:["']\])?$/, 'params']
]

/** Translates `$(headers.x)` and its like; undefined, with a note, if a part has no translation. */
function template(text: string, { route, translation }: RouteContext): string | undefined {
  let made = ''
  let end = 0
  for (const { 0: whole, 1: inner = '', index } of text.matchAll(/\$\(([^)]*)\)/g)) {
    made += literalTemplate(text.slice(end, index))
    const known = TEMPLATES.flatMap(([form, source]) => {
      const name = form.exec(inner.trim())?.[1]
      return name === undefined ? [] : [`{${source}.${name}}`]
    })[0]
    if (known === undefined) {
      translation.comment(route, `not translated: ${whole}; the value is removed`)
      return undefined
    }
    made += known
    end = index + whole.length
  }
  return made + literalTemplate(text.slice(end))
}
