import type { AboutGroup, AddedRoute, Expanded, Expansion } from '../../src/kit/concern.ts'
import { File, type Static, Type } from '../../src/kit/index.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import { operationSecurity } from '../../src/lib/openapi/operation-security.ts'
import { listOperations, type Operation, serverPaths } from '../../src/lib/openapi/operations.ts'
import { placeOf } from '../../src/lib/openapi/place.ts'
import { checkDocument } from './document-checks.ts'
import { key } from './options.ts'

const options = Type.Union(
  [
    File({ description: 'An OpenAPI document.' }),
    Type.Object(
      {
        openapi: File({
          description:
            'An OpenAPI document (3.0, 3.1 or 3.2, JSON or YAML), whose paths are below the path of the group.'
        }),
        servers: Type.Optional(
          Type.Boolean({
            default: false,
            description:
              'Whether the paths of the servers of the document come before those of its operations.'
          })
        )
      },
      { additionalProperties: false, description: 'An OpenAPI document and how it is read.' }
    )
  ],
  {
    description:
      'An OpenAPI document whose operations are routes of this group, validated, with its target and its concerns.'
  }
)

export const expand = { key: 'operations', options, routes } as const satisfies Expansion

/** Makes a route of each operation; where two can't be told apart by a path of the config, one route for both. */
async function routes(written: Static<typeof options>, { paths }: AboutGroup): Promise<Expanded> {
  const isShort = typeof written === 'string'
  const { openapi, servers = false } = isShort ? { openapi: written } : written
  const { document, faults } = await checkDocument(openapi, isShort ? [] : ['openapi'])
  const base = paths.map((path) => (path === '' ? '/' : path))
  return {
    faults,
    options: { [key]: { openapi, servers, base, undeclared: 'reject' } },
    routes: document === undefined ? [] : routesOf(document, servers ? serverPaths(document) : ['']),
    files: [openapi]
  }
}

function routesOf(document: OpenApiDocument, prefixes: readonly string[]): AddedRoute[] {
  const names = new Set<string>()
  const nameOf = ({ operationId, method, path }: Operation): string => {
    const name = operationId === undefined || names.has(operationId) ? `${method} ${path}` : operationId
    names.add(name)
    return name
  }
  return byPlace(listOperations(document)).map(({ pattern, operations }) => {
    const [first] = operations
    const originOf = ({ method, path, at }: Operation): string =>
      `${method} ${path} (${placeOf(document, at.uri, at.node)})`
    return {
      name: operations.map(nameOf).join(', '),
      paths: prefixes.map((prefix) => prefix + pattern),
      method: first.method,
      origin: () => operations.map(originOf).join(', '),
      security: operations.map((operation) => ({
        ...operationSecurity(document, operation),
        origin: () => originOf(operation)
      }))
    }
  })
}

interface Place {
  readonly pattern: string
  readonly operations: [Operation, ...Operation[]]
}

/** Groups operations by method and pattern, whatever the names of the parameters; a GET takes HEAD along. */
function byPlace(operations: readonly Operation[]): Place[] {
  const places = new Map<string, Place>()
  const gets = operations.filter(({ method }) => method === 'GET')
  const heads = operations.filter(({ method }) => method === 'HEAD')
  const others = operations.filter(({ method }) => method !== 'GET' && method !== 'HEAD')
  for (const operation of [...gets, ...heads, ...others]) {
    const pattern = patternOf(operation.path)
    const method = operation.method === 'HEAD' ? 'GET' : operation.method
    const known = places.get(placeKey(method, pattern))
    if (known === undefined)
      places.set(placeKey(operation.method, pattern), { pattern, operations: [operation] })
    else known.operations.push(operation)
  }
  return [...places.values()]
}

const placeKey = (method: string, pattern: string): string => `${method} ${pattern.replaceAll(/:\w+/g, ':')}`

const PLAIN = /^(?!\.{1,2}$)[\w.~$&'+,;=@%-][\w.~$&'+,;=@%:-]*$/

/** Returns the path of the config that matches what a path of a document does, or more where it has no such form. */
function patternOf(path: string): string {
  const taken = new Set<string>()
  return path
    .split('/')
    .map((segment, i) => {
      if (segment === '' || PLAIN.test(segment)) return segment
      const name = (/^\{([^{}]+)\}$/.exec(segment)?.[1] ?? `segment${i}`).replaceAll(/\W/g, '_')
      const own = /^\d/.test(name) ? `_${name}` : name
      const unique = taken.has(own) ? `${own}_${i}` : own
      taken.add(unique)
      return `:${unique}`
    })
    .join('/')
}
