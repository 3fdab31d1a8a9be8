import { isObject } from '../schema.ts'
import type { Located, Node, OpenApiDocument } from './document.ts'
import type { SchemaAt } from './operation-schema.ts'

/** An operation of a document. */
export interface Operation {
  readonly operationId: string | undefined
  /** The path as the document writes it, such as "/orders/{id}". */
  readonly path: string
  readonly method: string
  readonly isDeprecated: boolean
  /** The Operation Object and the file that it stands in. */
  readonly at: Located
  /** The Path Item Object that it belongs to. */
  readonly item: Located
}

/** A parameter of an operation. */
export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header' | 'cookie' | 'querystring'
  readonly isRequired: boolean
  readonly allowsEmpty: boolean
  readonly style: string
  readonly explode: boolean
  /** Its schema, or that of its content, and the file that this stands in. */
  readonly schema: SchemaAt | undefined
  /** Whether its text is JSON. */
  readonly isJson: boolean
}

/** The body of an operation. */
export interface RequestBody {
  readonly isRequired: boolean
  /** The media types or ranges, in lower case, each with its Media Type Object. */
  readonly content: ReadonlyMap<string, Located>
}

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'] as const

/** Lists the operations of a document, in its order. */
export function listOperations(document: OpenApiDocument): Operation[] {
  const { paths } = document.root
  if (!isObject(paths)) return []
  return Object.entries(paths).flatMap(([path, written]) => {
    const item = path.startsWith('/') ? document.follow(written) : undefined
    if (item === undefined) return []
    const { additionalOperations } = item.node
    const all = [
      ...METHODS.map((method) => [method.toUpperCase(), item.node[method]] as const),
      ...Object.entries(isObject(additionalOperations) ? additionalOperations : {})
    ]
    return all.flatMap(([method, node]): Operation[] => {
      if (!isObject(node)) return []
      const { operationId, deprecated } = node
      return [
        {
          operationId: typeof operationId === 'string' ? operationId : undefined,
          path,
          method,
          isDeprecated: deprecated === true,
          at: { node, uri: item.uri },
          item
        }
      ]
    })
  })
}

const STYLES: Readonly<Record<string, string>> = {
  path: 'simple',
  query: 'form',
  header: 'simple',
  cookie: 'form'
}

// Other fields describe these (OpenAPI 3.1, Parameter Object).
const NOT_PARAMETERS: ReadonlySet<string> = new Set(['accept', 'content-type', 'authorization'])

/** Lists the parameters of an operation; its own win over those of its path. */
export function parametersOf(document: OpenApiDocument, { at, item }: Operation): Parameter[] {
  const found = new Map<string, Parameter>()
  for (const { node, uri } of [item, at])
    for (const written of listIn(node['parameters'])) {
      const parameter = readParameter(document.follow(written, uri))
      if (parameter !== undefined) found.set(`${parameter.in} ${parameter.name}`, parameter)
    }
  return [...found.values()]
}

function readParameter(located: Located | undefined): Parameter | undefined {
  if (located === undefined) return undefined
  const { node, uri } = located
  const { name, in: place, required, content, allowEmptyValue } = node
  if (typeof name !== 'string' || typeof place !== 'string') return undefined
  const isHeader = place === 'header'
  if (isHeader && NOT_PARAMETERS.has(name.toLowerCase())) return undefined
  const style = typeof node['style'] === 'string' ? node['style'] : (STYLES[place] ?? 'form')
  const [mediaType, media] = isObject(content) ? (Object.entries(content)[0] ?? []) : []
  const schema = isObject(media) ? media['schema'] : node['schema']
  return {
    name: isHeader ? name.toLowerCase() : name,
    in: place as Parameter['in'],
    isRequired: required === true || place === 'path',
    allowsEmpty: allowEmptyValue === true,
    style,
    explode: typeof node['explode'] === 'boolean' ? node['explode'] : style === 'form' || style === 'cookie',
    schema: schema === undefined ? undefined : { value: schema, uri },
    isJson: mediaType !== undefined && /[/+]json\b/i.test(mediaType)
  }
}

/** Returns the body of an operation; undefined where it declares none. */
export function requestBodyOf(document: OpenApiDocument, { at }: Operation): RequestBody | undefined {
  const body = document.follow(at.node['requestBody'], at.uri)
  if (body === undefined) return undefined
  return { isRequired: body.node['required'] === true, content: contentOf(document, body) }
}

/** Returns the media types of a body, in lower case, each with its Media Type Object. */
function contentOf(document: OpenApiDocument, { node, uri }: Located): ReadonlyMap<string, Located> {
  const { content } = node
  return new Map(
    Object.entries(isObject(content) ? content : {}).flatMap(([type, written]): [string, Located][] => {
      const media = document.follow(written, uri)
      return media === undefined ? [] : [[(type.split(';', 1)[0] ?? '').trim().toLowerCase(), media]]
    })
  )
}

/** A response of an operation. */
export interface DeclaredResponse {
  /** The headers that it always has, in lower case. */
  readonly requiredHeaders: readonly string[]
  /** The media types or ranges, in lower case, each with its Media Type Object. */
  readonly content: ReadonlyMap<string, Located>
}

/** Lists the responses of an operation by their statuses, in upper case, such as "200", "4XX" or "DEFAULT". */
export function responsesOf(
  document: OpenApiDocument,
  { at }: Operation
): ReadonlyMap<string, DeclaredResponse> {
  const { responses } = at.node
  return new Map(
    Object.entries(isObject(responses) ? responses : {}).flatMap(
      ([status, written]): [string, DeclaredResponse][] => {
        const response = document.follow(written, at.uri)
        if (response === undefined) return []
        const { headers } = response.node
        const requiredHeaders = Object.entries(isObject(headers) ? headers : {})
          .filter(([, header]) => document.follow(header, response.uri)?.node['required'] === true)
          .map(([name]) => name.toLowerCase())
        return [[status.toUpperCase(), { requiredHeaders, content: contentOf(document, response) }]]
      }
    )
  )
}

/** Returns the security requirements of an operation: its own, else those of the document. */
export const securityOf = ({ root }: OpenApiDocument, { at }: Operation): readonly unknown[] =>
  listIn(at.node['security'] ?? root['security'])

/** Names the query parameters that carry the API keys of a document. */
export function keyParameters(document: OpenApiDocument): string[] {
  const { components } = document.root
  const schemes = isObject(components) ? components['securitySchemes'] : undefined
  return Object.values(isObject(schemes) ? schemes : {}).flatMap((written) => {
    const scheme: Node = document.follow(written)?.node ?? {}
    return scheme['type'] === 'apiKey' && scheme['in'] === 'query' ? [String(scheme['name'])] : []
  })
}

/** Returns the paths of the servers of a document, whose operations are below them; variables have their defaults. */
export function serverPaths({ root }: OpenApiDocument): string[] {
  const paths = listIn(root['servers']).flatMap((server) => {
    if (!isObject(server) || typeof server['url'] !== 'string') return []
    const variables = isObject(server['variables']) ? server['variables'] : {}
    const url = server['url'].replaceAll(/\{([^}]*)\}/g, (_all, name: string) => {
      const variable = variables[name]
      return isObject(variable) ? String(variable['default'] ?? '') : ''
    })
    return [(URL.parse(url, 'http://localhost/')?.pathname ?? '/').replace(/\/$/, '')]
  })
  return paths.length === 0 ? [''] : [...new Set(paths)]
}

const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : [])
