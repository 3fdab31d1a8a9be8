import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { Description } from '../kit/describe.ts'
import { Components, compare } from './components.ts'
import { describeRoute, textsOf } from './describe-route.ts'
import { describedPaths } from './described-paths.ts'
import { makeOperation } from './operation.ts'
import type { TemplatedPath } from './path-templates.ts'
import { addProblem } from './responses.ts'
import { serversOf } from './servers.ts'

/** An OpenAPI document, and what could not be put into it. */
export interface GatewayDescription {
  readonly document: Record<string, unknown>
  /** Sentences about operations that an OpenAPI document cannot have. */
  readonly omitted: readonly string[]
}

/** Describes the routes of a gateway in OpenAPI 3.1; the order of the config does not matter. With a host, only what requests to it can reach. */
export function describeGateway(plan: Plan, host?: string): GatewayDescription {
  const components = new Components()
  addProblem(components)
  const paths = new Map<string, Map<string, Record<string, unknown>>>()
  const omitted: string[] = []
  const ids = new OperationIds()
  for (const { route, path, texts } of describedPaths(plan, host)) {
    const descriptions = describeRoute(plan, route)
    const servers = host === undefined ? serversOf(route.hosts, plan.publicUrl) : undefined
    const operations = paths.get(path.text) ?? new Map<string, Record<string, unknown>>()
    paths.set(path.text, operations)
    for (const method of unknownMethods(route))
      omitted.push(`${nameOf(route, path, method)} is left out, since OpenAPI 3.1 has no such method`)
    for (const method of methodsOf(route, descriptions)) {
      const name = method.toLowerCase()
      if (operations.has(name)) {
        omitted.push(
          `${nameOf(route, path, method)} is left out, since another route has its path and method; --host prints the routes of one host`
        )
        continue
      }
      const id = ids.idOf(route, path, method)
      operations.set(
        name,
        makeOperation({ id, method, route, path, descriptions, texts, servers }, components)
      )
    }
  }
  return {
    document: { ...headOf(plan, host), paths: sortedPaths(paths), components: components.sorted() },
    omitted
  }
}

/** The methods that a Path Item Object can have, in the order of the document. */
const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH']

// What clients of an API use; HEAD and OPTIONS go without saying.
const USUAL_METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH']

function methodsOf({ methods }: PlannedRoute, descriptions: readonly Description[]): readonly string[] {
  const named = methods ?? descriptions.flatMap(({ methods: ofTarget = [] }) => ofTarget)
  if (named.length === 0) return USUAL_METHODS
  const isImplied = (method: string): boolean => method === 'HEAD' && named.includes('GET')
  return METHODS.filter((method) => named.includes(method) && !isImplied(method))
}

const unknownMethods = ({ methods = [] }: PlannedRoute): string[] =>
  methods.filter((method) => !METHODS.includes(method))

const nameOf = ({ hosts, name }: PlannedRoute, { text }: TemplatedPath, method: string): string =>
  `${method} ${hosts.join(',')}${text} (${name})`

/** Makes the ids of operations, which are unique. */
class OperationIds {
  readonly #used = new Set<string>()

  /** Makes an id from the method and the name of the route, which is its path by default. */
  idOf({ name, paths }: PlannedRoute, { text }: TemplatedPath, method: string): string {
    const isNamed = name !== paths.map((path) => path.text).join(', ')
    const words = (isNamed ? name : text).split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
    const id = method.toLowerCase() + (words.length === 0 ? 'Root' : words.map(capitalized).join(''))
    let unique = id
    for (let i = 2; this.#used.has(unique); i++) unique = `${id}${i}`
    this.#used.add(unique)
    return unique
  }
}

const capitalized = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1)

function headOf(plan: Plan, host: string | undefined): Record<string, unknown> {
  const { title = 'API', version = '1.0.0', description } = textsOf(plan)?.info ?? {}
  const { publicUrl } = plan
  const servers =
    (host === undefined ? undefined : serversOf([host], publicUrl)) ??
    (publicUrl === undefined ? undefined : [{ url: publicUrl }])
  return {
    openapi: '3.1.0',
    info: { title, ...(description === undefined ? {} : { description }), version },
    ...(servers === undefined ? {} : { servers })
  }
}

type Operations = ReadonlyMap<string, Record<string, unknown>>

const sortedPaths = (paths: ReadonlyMap<string, Operations>): Record<string, unknown> =>
  Object.fromEntries(
    [...paths]
      .filter(([, operations]) => operations.size > 0)
      .toSorted(([a], [b]) => compare(a, b))
      .map(([path, operations]) => [path, sortedOperations(operations)])
  )

const sortedOperations = (operations: Operations): Record<string, unknown> =>
  Object.fromEntries(
    METHODS.flatMap((method) => {
      const operation = operations.get(method.toLowerCase())
      return operation === undefined ? [] : [[method.toLowerCase(), operation]]
    })
  )
