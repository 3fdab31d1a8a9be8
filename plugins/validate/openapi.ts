import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import {
  keyParameters,
  listOperations,
  type Operation,
  serverPaths
} from '../../src/lib/openapi/operations.ts'
import type { RawPair } from '../../src/lib/openapi/parameter-styles.ts'
import { PathTable } from '../../src/lib/openapi/path-table.ts'
import { documentKey, readOpenApi } from '../../src/lib/openapi/read-document.ts'
import { Internal, withHeaders } from '../../src/lib/refusals.ts'
import { MethodUndeclared, PathUndeclared, type RequestErrors } from './errors.ts'
import { compileOperation, type OperationJudge } from './operation.ts'
import type { ValidateOptions } from './options.ts'

/** An operation that a request is for. */
export interface FoundOperation {
  readonly judge: OperationJudge
  readonly path: ReadonlyMap<string, string>
  /** Returns whether a query parameter is declared, or carries a key of the document. */
  declares(name: string): boolean
}

/** A document in use: its operations by path and method, each compiled at its first request. */
class DocumentJudge {
  readonly #document: OpenApiDocument
  readonly #keys: ReadonlySet<string>
  readonly #judges = new Map<Operation, OperationJudge | null>()
  readonly #tables = new Map<boolean, PathTable<ReadonlyMap<string, Operation>>>()

  constructor(document: OpenApiDocument) {
    this.#document = document
    this.#keys = new Set(keyParameters(document))
  }

  /** Finds the operation of a path and a method; undefined where the document has none and others may pass. */
  find(
    { method, log }: FastifyRequest,
    path: string,
    { servers, undeclared }: Pick<ValidateOptions, 'servers' | 'undeclared'>
  ): FoundOperation | undefined {
    const match = this.#tableFor(servers).find(path)
    if (match === undefined) {
      if (undeclared === 'reject') throw new PathUndeclared()
      return undefined
    }
    const operation = match.value.get(method) ?? (method === 'HEAD' ? match.value.get('GET') : undefined)
    if (operation === undefined) {
      if (undeclared === 'reject')
        throw withHeaders(new MethodUndeclared(method), { allow: allowed(match.value) })
      return undefined
    }
    const judge = this.#judgeOf(operation, log)
    return { judge, path: match.params, declares: (name) => judge.declares(name) || this.#keys.has(name) }
  }

  #judgeOf(operation: Operation, log: FastifyRequest['log']): OperationJudge {
    let judge = this.#judges.get(operation)
    if (judge === undefined) {
      try {
        judge = compileOperation(this.#document, operation)
      } catch (error) {
        judge = null
        const { method, path } = operation
        log.error({ err: error, method, path }, 'openapi operation unusable')
      }
      this.#judges.set(operation, judge)
    }
    // A request that can't be judged does not pass.
    if (judge === null) throw new Internal()
    return judge
  }

  #tableFor(servers: boolean): PathTable<ReadonlyMap<string, Operation>> {
    let table = this.#tables.get(servers)
    if (table === undefined) {
      const byPath = Map.groupBy(listOperations(this.#document), ({ path }) => path)
      const prefixes = servers ? serverPaths(this.#document) : ['']
      table = new PathTable(
        [...byPath].flatMap(([path, all]) => {
          const methods = new Map(all.map((operation) => [operation.method, operation]))
          return prefixes.map((prefix) => [prefix + path, methods] as const)
        })
      )
      this.#tables.set(servers, table)
    }
    return table
  }
}

const allowed = (methods: ReadonlyMap<string, Operation>): string =>
  [...methods.keys(), ...(methods.has('GET') && !methods.has('HEAD') ? ['HEAD'] : [])].sort().join(', ')

/** Finds the operation of a request by the path of its target. */
export type LookUp = (request: FastifyRequest, path: string) => FoundOperation | undefined

/** Makes the look-up of a document below the paths of a route; what has to be read first is added to `loading`. */
export function documentLookup(
  app: FastifyInstance,
  options: ValidateOptions & { readonly openapi: string },
  paths: readonly string[],
  loading: Promise<unknown>[]
): LookUp {
  const rest = restOf(paths)
  let judge: DocumentJudge | undefined
  const opening = openDocument(app, options.openapi).then((opened) => {
    judge = opened
  })
  // The error is reported where all of them are awaited.
  opening.catch(() => {})
  loading.push(opening)
  return (request, path) => {
    if (judge === undefined) throw new Internal()
    return judge.find(request, rest(path), options)
  }
}

/** Judges the parameters of a request for an operation. */
export const judgeParameters = (
  request: FastifyRequest,
  { judge, path }: FoundOperation,
  query: readonly RawPair[],
  errors: RequestErrors
): void =>
  judge.judgeParameters(request, { path, query, cookies: rawCookies(request.headers.cookie) }, errors)

/** Begins to read a document; a reload keeps what is the same, with all that it has compiled. */
function openDocument(app: FastifyInstance, file: string): Promise<DocumentJudge> {
  // What refers to other files may have changed with them.
  const hash = documentKey(file, readFileSync(file, 'utf8')) ?? `${file} ${performance.now()}`
  return app.resources.lease(app, `validate openapi ${hash}`, async () => {
    try {
      return new DocumentJudge(await readOpenApi(file))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new Error(`the OpenAPI document ${basename(file)} can't be used: ${why}`, { cause: error })
    }
  })
}

/** Makes what finds the part of a request's path that the paths of a document are compared with. */
function restOf(paths: readonly string[]): (path: string) => string {
  const prefixes = paths
    .map((path) => path.replace(/\/\*$/, '').split('/').slice(1))
    .map((segments) => (segments.length === 1 && segments[0] === '' ? [] : segments))
    .toSorted((a, b) => b.length - a.length)
  return (path) => {
    const segments = path.split('/').slice(1)
    const prefix = prefixes.find((each) =>
      each.every((segment, i) => segment.startsWith(':') || same(segment, segments[i] ?? ''))
    )
    return `/${segments.slice(prefix?.length ?? 0).join('/')}`
  }
}

// A prefix may be written decoded.
const same = (segment: string, sent: string): boolean =>
  segment.toLowerCase() === sent.toLowerCase() || encodeURI(segment) === sent

/** Reads the cookies of a request, still encoded. */
function rawCookies(header: string | undefined): RawPair[] {
  return (header ?? '').split(';').flatMap((pair): RawPair[] => {
    const end = pair.indexOf('=')
    return end === -1 ? [] : [[pair.slice(0, end).trim(), pair.slice(end + 1).trim()]]
  })
}
