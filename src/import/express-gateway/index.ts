import { isDeepStrictEqual } from 'node:util'
import { close as closeRoute } from '../close.ts'
import { type Json, type JsonObject, listAt, objectAt } from '../json.ts'
import { parseTree, type SourceNode } from '../source-node.ts'
import { ImportError, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { type Context, POLICIES } from './policies.ts'
import { addProxy } from './proxy.ts'

/** Translates the pipelines of Express Gateway. */
export function translateExpressGateway(source: SourceText, translation: Translation): void {
  const root = parseTree(source)
  const pipelines = root.get('pipelines')
  if (!pipelines.exists)
    throw new ImportError(`${source.file}: expected a gateway.config.yml with "pipelines", got none`)
  // Express compares paths without regard to case.
  translation.config['paths'] = { ignoreCase: true }
  const named = pipelines.keys.map((key) => pipelines.get(key))
  const drafts = (named.length > 0 ? named : pipelines.items).flatMap((pipeline) =>
    draftsOf(pipeline, root, translation)
  )
  keepFirst(drafts, translation)
  listAt(translation.config, 'routes').push(...drafts.map(({ route }) => route))
  for (const key of root.keys.filter((each) => !KNOWN.has(each))) translation.missing(root.get(key).line, key)
}

const KNOWN: ReadonlySet<string> = new Set(
  'http admin apiEndpoints serviceEndpoints policies pipelines'.split(' ')
)

interface Draft {
  readonly route: JsonObject
  readonly node: SourceNode
}

function draftsOf(pipeline: SourceNode, root: SourceNode, translation: Translation): Draft[] {
  const names = [...pipeline.get('apiEndpoints').texts, ...pipeline.get('apiEndpoint').texts]
  return names.flatMap((name) => {
    const definition = root.get('apiEndpoints').get(name)
    const endpoints = Array.isArray(definition.value) ? definition.items : [definition]
    return endpoints
      .filter(({ exists }) => exists)
      .map((endpoint) => draftOf(pipeline, endpoint, { root, translation }))
  })
}

function draftOf(
  pipeline: SourceNode,
  endpoint: SourceNode,
  { root, translation }: { root: SourceNode; translation: Translation }
): Draft {
  const route: JsonObject = {}
  const doubts: [node: SourceNode, text: string][] = []
  const context: Context = { route, translation, close: (node, text) => void doubts.push([node, text]) }
  addMatchers(endpoint, context)
  for (const { name, node } of stepsOf(pipeline)) addPolicy(name, node, { root, context })
  const scopes = endpoint.get('scopes').texts
  if (scopes.length > 0 && route['auth'] !== undefined)
    objectAt(objectAt(route, 'auth'), 'require')['scopes'] = scopes.map(literal)
  if (['proxy', 'respond', 'redirect'].every((key) => route[key] === undefined))
    route['respond'] = { status: 404 }
  for (const [node, text] of doubts) closeRoute(translation, route, node.line, text)
  translation.done()
  return { route, node: endpoint }
}

function addMatchers(endpoint: SourceNode, { route, close }: Context): void {
  const host = endpoint.get('host').text
  if (host !== undefined && host !== '*') route['host'] = literal(host)
  const paths = endpoint.get('paths').exists ? endpoint.get('paths').texts : ['/*']
  const made = paths.map((path) => literal(path.replace(/\/\*\*?$/, '/*').replace(/^\*\*?$/, '/*')))
  route['path'] = made.length === 1 ? (made[0] ?? '') : [...new Set(made)]
  if (endpoint.get('pathRegex').exists) {
    route['path'] = '/*'
    close(endpoint.get('pathRegex'), `pathRegex ${endpoint.get('pathRegex').text ?? ''}`)
  }
  const methods = endpoint
    .get('methods')
    .texts.flatMap((text) => text.split(','))
    .map((text) => text.trim().toUpperCase())
    .filter((text) => text !== '' && text !== '*')
  if (methods.length > 0) route['methods'] = methods.map(literal)
}

interface Step {
  readonly name: string
  /** A condition and an action. */
  readonly node: SourceNode
}

/** Returns the policies of a pipeline; one without a condition and an action has its defaults. */
const stepsOf = (pipeline: SourceNode): Step[] =>
  pipeline.get('policies').items.flatMap((policy) =>
    policy.text !== undefined
      ? [{ name: policy.text, node: policy }]
      : Object.keys(Object(policy.value)).flatMap((name) => {
          const { items } = policy.get(name)
          return items.length === 0
            ? [{ name, node: policy.get(name) }]
            : items.map((node) => ({ name, node }))
        })
  )

function addPolicy(
  name: string,
  node: SourceNode,
  { root, context }: { root: SourceNode; context: Context }
): void {
  const condition = node.get('condition').get('name').text ?? 'always'
  if (condition === 'never') return
  if (condition !== 'always') {
    context.close(node, `${name} with the condition ${condition}`)
    return
  }
  const add = Object.hasOwn(POLICIES, name) ? POLICIES[name] : undefined
  if (name === 'proxy') addProxy(node.get('action'), root, context)
  else if (add === undefined) context.close(node, `policy ${name}`)
  else add(node.get('action'), context)
  context.translation.done()
}

/** The first endpoint that matches serves a request in Express Gateway, and here the one with the most specific path. */
function keepFirst(drafts: readonly Draft[], translation: Translation): void {
  for (const [i, later] of drafts.entries())
    for (const earlier of drafts.slice(0, i)) {
      const isCovered = pathsOf(later).some((path) => pathsOf(earlier).some((wide) => covers(wide, path)))
      const areGated = ['auth', 'rateLimit', 'respond'].some(
        (key) => earlier.route[key] !== undefined && !isDeepStrictEqual(earlier.route[key], later.route[key])
      )
      if (isCovered && areGated && !isDeepStrictEqual(later.route['respond'], { status: 403 }))
        closeRoute(
          translation,
          later.route,
          later.node.line,
          'an endpoint behind an earlier one that takes its requests'
        )
    }
}

const pathsOf = ({ route }: Draft): string[] =>
  [route['path'] ?? []].flat().filter((each: Json) => typeof each === 'string')

/** Whether a path takes all requests of another one. */
function covers(wide: string, path: string): boolean {
  const segments = wide.replace(/\/\*$/, '').split('/')
  const expression = segments
    .map((segment) => (segment.startsWith(':') ? '[^/]+' : segment.replaceAll(/[\\^$.|?*+()[\]{}]/g, '\\$&')))
    .join('/')
  const rest = wide.endsWith('/*') ? '(?:/.*)?' : ''
  return wide !== path && new RegExp(`^${expression}${rest}$`, 'i').test(path.replace(/\/\*$/, ''))
}
