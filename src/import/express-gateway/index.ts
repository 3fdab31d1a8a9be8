import { isDeepStrictEqual } from 'node:util'
import { close as closeRoute } from '../close.ts'
import { withEnvironment } from '../environment.ts'
import { type Json, type JsonObject, listAt, objectAt } from '../json.ts'
import { widerPath } from '../mend.ts'
import { shareLimits } from '../shared-limits.ts'
import { parseTree, type SourceNode } from '../source-node.ts'
import { ImportError, type SourceLine, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { type Context, POLICIES } from './policies.ts'
import { addProxy } from './proxy.ts'

// What is calculated of a request, such as ${req.ip}, is no variable of the environment.
const ENVIRONMENT = /(?<!\$)\$\{([A-Za-z0-9_]+)(?::-([^}]+))?\}/g

/** Translates the API endpoints of Express Gateway, each with its pipeline. */
export function translateExpressGateway(source: SourceText, translation: Translation): void {
  const root = parseTree(withEnvironment(source, ENVIRONMENT, translation))
  const pipelines = pipelinesOf(root)
  if (pipelines.length === 0)
    throw new ImportError(`${source.file}: expected a gateway.config.yml with "pipelines", got none`)
  // Express compares paths without regard to case.
  translation.config['paths'] = { ignoreCase: true }
  const endpoints = [root.get('apiEndpoints'), root.get('apiEndpoint')].flatMap((each) =>
    each.keys.flatMap((name) => each.get(name).items.map((node) => ({ name, node })))
  )
  const drafts = endpoints.map(({ name, node }) => {
    // A pipeline takes its endpoints from those above it.
    const pipeline = pipelines.findLast((each) => endpointsOf(each).includes(name))
    return draftOf(pipeline, node, { root, translation })
  })
  const served = reached(drafts, translation)
  const pipelineOf = new Map(served.map(({ route, pipeline }) => [route, pipeline]))
  listAt(translation.config, 'routes').push(
    ...shareLimits(
      served.map(({ route }) => route),
      (route) => counterOf(pipelineOf.get(route)),
      translation
    )
  )
  const known = new Set(endpoints.map(({ name }) => name))
  for (const pipeline of pipelines)
    for (const name of endpointsOf(pipeline))
      if (!known.has(name))
        translation.missing(pipeline.line, `pipeline of the endpoint ${name}, which is not there`)
  for (const key of root.keys.filter((each) => !KNOWN.has(each))) translation.missing(root.get(key).line, key)
}

const KNOWN: ReadonlySet<string> = new Set(
  'http admin apiEndpoints apiEndpoint serviceEndpoints policies pipelines pipeline'.split(' ')
)

function pipelinesOf(root: SourceNode): SourceNode[] {
  const all = root.get('pipelines').exists ? root.get('pipelines') : root.get('pipeline')
  return Array.isArray(all.value) ? all.items : all.keys.map((key) => all.get(key))
}

const endpointsOf = (pipeline: SourceNode): string[] => [
  ...pipeline.get('apiEndpoints').texts,
  ...pipeline.get('apiEndpoint').texts
]

interface Draft {
  readonly route: JsonObject
  readonly pipeline: SourceNode | undefined
  /** Whether its paths take more requests than those of the source. */
  readonly isWidened: boolean
  readonly node: SourceNode
}

// A policy counts the requests of all endpoints of its pipeline.
const counterOf = (pipeline: SourceNode | undefined): (SourceLine & { name: string }) | undefined =>
  pipeline === undefined
    ? undefined
    : { ...pipeline.line, name: `of the pipeline in line ${pipeline.line.line}` }

function draftOf(
  pipeline: SourceNode | undefined,
  endpoint: SourceNode,
  { root, translation }: { root: SourceNode; translation: Translation }
): Draft {
  const route: JsonObject = translation.from(endpoint.line, {})
  const doubts: [node: SourceNode, text: string][] = []
  const context: Context = { route, translation, close: (node, text) => void doubts.push([node, text]) }
  addMatchers(endpoint, context)
  for (const { name, node } of pipeline === undefined ? [] : stepsOf(pipeline))
    addPolicy(name, node, { root, context })
  const scopes = endpoint.get('scopes').texts
  if (scopes.length > 0 && route['auth'] !== undefined)
    objectAt(objectAt(route, 'auth'), 'require')['scopes'] = scopes.map(literal)
  if (['proxy', 'respond', 'redirect'].every((key) => route[key] === undefined))
    route['respond'] = { status: 404 }
  for (const [node, text] of doubts) closeRoute(translation, route, node.line, text)
  translation.done()
  const isWidened = doubts.some(([, text]) => /^(?:the path|pathRegex) /.test(text))
  return { route, pipeline, isWidened, node: endpoint }
}

function addMatchers(endpoint: SourceNode, { route, close }: Context): void {
  const host = endpoint.get('host').text
  if (host !== undefined && host !== '*') route['host'] = literal(host)
  const written = endpoint.get('paths').exists ? endpoint.get('paths') : endpoint.get('path')
  const paths = written.exists ? written.texts : ['/*']
  const made = [...new Set(paths.flatMap(pathsOfExpress))]
    .map((path): string => {
      if (SAYABLE.test(path)) return path
      close(written, `the path ${path}`)
      return widerPath(path)
    })
    .map(literal)
  route['path'] = made.length === 1 ? (made[0] ?? '') : made
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

// Literal segments, parameters, the end of `/users*`, and everything below.
const SAYABLE = /^(?:\/(?:[\w.~!$&'@,;=%\uE000\uE001-]*|:\w+|:p1\([\w.~\\-]+\.\+\)))+(?:\/\*)?$|^\/\*$/

/** Returns our paths for one of Express, where a `*` is any characters. */
function pathsOfExpress(written: string): string[] {
  const path = written
    .replace(/\{\/\*\w*\}$/, '/*')
    .replace(/\/\*\w+$/, '/*')
    .replace(/\*\*$/, '*')
  if (path === '*') return ['/*']
  const [, base = '', parameter] = /^(.*)\/:(\w+)\?$/.exec(path) ?? []
  if (parameter !== undefined) return [base === '' ? '/' : base, `${base}/:${parameter}`]
  const [, folder = '', start] = /^(.*\/)([\w.~-]+)\*$/.exec(path) ?? []
  return start === undefined
    ? [path]
    : [`${folder}${start}/*`, `${folder}:p1(${start.replaceAll('.', String.raw`\.`)}.+)/*`]
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

/**
 * Express Gateway gives a request to the first endpoint that matches, and Sallyport to the one with the most specific path:
 * leaves out the paths that an earlier endpoint takes, and closes an endpoint whose requests partly have other gates there.
 */
function reached(drafts: readonly Draft[], translation: Translation): Draft[] {
  for (const [i, later] of drafts.entries())
    for (const earlier of drafts.slice(0, i)) {
      const taken = pathsOf(later).filter((path) => pathsOf(earlier).some((wide) => covers(wide, path)))
      const [host, own] = [earlier.route['host'], later.route['host']]
      if (taken.length === 0 || (host !== undefined && host !== own)) continue
      if (host === own && hasMethodsOf(earlier.route, later.route) && !earlier.isWidened)
        later.route['path'] = pathsOf(later).filter((path) => !taken.includes(path))
      else if (!isDeepStrictEqual(gatesOf(earlier.route), gatesOf(later.route)) && !isClosed(later.route))
        closeRoute(
          translation,
          later.route,
          later.node.line,
          'an endpoint behind an earlier one that takes its requests'
        )
    }
  return drafts.filter(({ route, node }) => {
    const paths = [route['path'] ?? []].flat()
    if (paths.length === 1) route['path'] = paths[0] ?? ''
    if (paths.length === 0)
      translation.missing(
        node.line,
        'an endpoint that gets no requests, since earlier ones take all of them',
        listAt(translation.config, 'routes')
      )
    return paths.length > 0
  })
}

const gatesOf = (route: JsonObject): unknown => ['auth', 'rateLimit', 'respond'].map((key) => route[key])

const isClosed = ({ respond }: JsonObject): boolean => isDeepStrictEqual(respond, { status: 403 })

/** Returns whether a route takes all methods that another one takes. */
const hasMethodsOf = ({ methods }: JsonObject, other: JsonObject): boolean =>
  methods === undefined ||
  (other['methods'] !== undefined &&
    [other['methods']].flat().every((method) => [methods].flat().includes(method)))

const pathsOf = ({ route }: Draft): string[] =>
  [route['path'] ?? []].flat().filter((each: Json) => typeof each === 'string')

/** Returns whether a path takes all requests of another one. */
function covers(wide: string, path: string): boolean {
  const segments = wide.replace(/\/\*$/, '').split('/').map(expressionOf)
  const rest = wide.endsWith('/*') ? '(?:/.*)?' : ''
  if (path.endsWith('/*') && rest === '') return false
  return new RegExp(`^${segments.join('/')}${rest}$`, 'i').test(path.replace(/\/\*$/, ''))
}

function expressionOf(segment: string): string {
  if (!segment.startsWith(':')) return segment.replaceAll(/[\\^$.|?*+()[\]{}]/g, '\\$&')
  return /^:\w+(\(.*\))$/.exec(segment)?.[1] ?? '[^/]+'
}
