import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { Description } from '../kit/describe.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { runAtOnce } from '../lib/time-slicing.ts'
import { Components, compare } from './components.ts'
import { describeRoute, type ErrorContentOf, errorContentOf, textsOf } from './describe-route.ts'
import { type DescribedPath, describedPaths } from './described-paths.ts'
import { DocumentMerger, withDocumented } from './merge-document.ts'
import { makeOperation } from './operation.ts'
import { baseOf, PathTemplates, type TemplatedPath } from './path-templates.ts'
import { addProblem } from './responses.ts'
import { serversOf } from './servers.ts'

/** An OpenAPI document, and what could not be put into it. */
export interface GatewayDescription {
  readonly document: Record<string, unknown>
  /** Sentences about operations that an OpenAPI document cannot have. */
  readonly omitted: readonly string[]
}

/** Describes the routes of a gateway in OpenAPI 3.1; the order of the config does not matter. With a host, only what requests to it can reach. */
export const describeGateway = (plan: Plan, host?: string): GatewayDescription =>
  runAtOnce(describeInSteps(plan, host))

/** Does the same in steps, since a large config takes seconds. */
export function* describeInSteps(plan: Plan, host?: string): Generator<void, GatewayDescription> {
  const builder = new DocumentBuilder(plan, host)
  const all: DescribedRoute[] = []
  for (const each of describedPaths(plan, host)) {
    all.push({
      ...each,
      descriptions: describeRoute(plan, each.route),
      errorContent: errorContentOf(plan, each.route)
    })
    yield
  }
  // What is named takes its place before the wildcards, and so does what a document names.
  const documented = new Set(
    all.filter(({ descriptions }) => descriptions.some(({ document }) => document !== undefined))
  )
  const others = new Set(all.filter((each) => !each.pattern.wildcard && !documented.has(each)))
  for (const each of others) yield builder.add(each)
  for (const each of documented) yield builder.addDocuments(each)
  for (const each of all) if (!others.has(each) && !isComplete(each)) yield builder.add(each)
  return builder.build()
}

interface DescribedRoute extends DescribedPath {
  readonly errorContent: ErrorContentOf
  readonly descriptions: readonly Description[]
}

const isComplete = ({ descriptions }: DescribedRoute): boolean =>
  descriptions.some(({ document }) => document?.isComplete === true)

class DocumentBuilder {
  readonly #plan: Plan
  readonly #host: string | undefined
  readonly #components = new Components()
  readonly #documents = new DocumentMerger(this.#components)
  readonly #templates = new PathTemplates()
  readonly #paths = new Map<string, Map<string, Record<string, unknown>>>()
  readonly #omitted: string[] = []
  readonly #ids = new OperationIds()

  constructor(plan: Plan, host: string | undefined) {
    this.#plan = plan
    this.#host = host
    addProblem(this.#components)
  }

  /** Adds the operations of a path of the config. */
  add(described: DescribedRoute): void {
    const { route, pattern, descriptions } = described
    const path = this.#templates.add(pattern)
    for (const method of unknownMethods(route))
      this.#omit(route, `${method} ${path.text}`, 'OpenAPI 3.1 has no such method')
    for (const method of methodsOf(route, descriptions))
      if (this.#isFree(described, path, method))
        this.#set(path, method, this.#operation(described, path, method))
  }

  /** Adds the operations of the documents of a route. */
  addDocuments(described: DescribedRoute): void {
    const { route, pattern, descriptions } = described
    for (const { document } of descriptions)
      for (const operation of document === undefined ? [] : this.#documents.operationsOf(document)) {
        const { method, node } = operation
        if (route.methods?.includes(method) === false) continue
        const base = document?.base === undefined ? pattern : baseOf(document.base, pattern, operation.path)
        if (base === undefined) continue
        const path = this.#templates.addBelow(base, operation.path)
        // A route that is written by hand has that place.
        if (path === undefined || this.#paths.get(path.text)?.has(method.toLowerCase()) === true) continue
        const id = typeof node['operationId'] === 'string' ? node['operationId'] : undefined
        const own = this.#operation(described, path, method, id)
        this.#set(path, method, withDocumented(own, operation))
      }
  }

  #operation(
    { route, descriptions, errorContent, texts }: DescribedRoute,
    path: TemplatedPath,
    method: string,
    wantedId = operationId(route, path, method)
  ): Record<string, unknown> {
    const servers = this.#host === undefined ? serversOf(route.hosts, this.#plan.publicUrl) : undefined
    const id = this.#ids.unique(wantedId)
    return makeOperation({ id, method, path, descriptions, errorContent, texts, servers }, this.#components)
  }

  #set({ text }: TemplatedPath, method: string, operation: Record<string, unknown>): void {
    getOrCreate(this.#paths, text, () => new Map<string, Record<string, unknown>>()).set(
      method.toLowerCase(),
      operation
    )
  }

  #isFree({ route }: DescribedRoute, path: TemplatedPath, method: string): boolean {
    if (this.#paths.get(path.text)?.has(method.toLowerCase()) !== true) return true
    this.#omit(
      route,
      `${method} ${path.text}`,
      'another route has its path and method; --host prints the routes of one host'
    )
    return false
  }

  #omit({ hosts, name }: PlannedRoute, path: string, reason: string): void {
    this.#omitted.push(
      `${path} (${name})${hosts.length === 0 ? '' : ` of ${hosts.join(', ')}`} is left out, since ${reason}`
    )
  }

  build(): GatewayDescription {
    return {
      document: {
        ...headOf(this.#plan, this.#host),
        paths: sortedPaths(this.#paths),
        components: this.#components.sorted()
      },
      omitted: this.#omitted
    }
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

/** Makes an id from the method and the name of the route, which is its path by default. */
function operationId({ name, paths }: PlannedRoute, { text }: TemplatedPath, method: string): string {
  const isNamed = name !== paths.map((path) => path.text).join(', ')
  const words = (isNamed ? name : text).split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
  return method.toLowerCase() + (words.length === 0 ? 'Root' : words.map(capitalized).join(''))
}

/** Makes the ids of operations unique. */
class OperationIds {
  readonly #used = new Set<string>()

  unique(id: string): string {
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
