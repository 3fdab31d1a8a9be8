import type { DescribedDocument } from '../kit/describe.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { mapDocumentReferences } from '../lib/openapi/map-references.ts'
import { isObject } from '../lib/schema.ts'
import type { Components } from './components.ts'

type Node = Readonly<Record<string, unknown>>

/** An operation of a document, with its references to the components of the gateway's own. */
export interface DocumentedOperation {
  readonly path: string
  readonly method: string
  readonly node: Node
  /** The parameters of all operations of its path. */
  readonly shared: readonly unknown[]
}

const COMPONENT = /^#\/components\/([^/]+)\/([^/]+)(.*)$/s

/** Puts the components of documents among those of the gateway, once for each document. */
export class DocumentMerger {
  readonly #components: Components
  readonly #merged = new Map<string, readonly DocumentedOperation[]>()
  readonly #known = new WeakMap<DescribedDocument, readonly DocumentedOperation[]>()

  constructor(components: Components) {
    this.#components = components
  }

  /** Returns the operations of a document, in its order. */
  operationsOf(document: DescribedDocument): readonly DocumentedOperation[] {
    return getOrCreate(this.#known, document, () =>
      getOrCreate(this.#merged, JSON.stringify(document), () => this.#merge(document))
    )
  }

  #merge({ paths, components, security }: DescribedDocument): readonly DocumentedOperation[] {
    const kinds = Object.entries(components).filter(([, named]) => isObject(named))
    const names = new Map<string, string>()
    for (const [kind, named] of kinds)
      for (const name of Object.keys(named))
        names.set(`${kind}/${name}`, this.#components.ofKind(kind).freeName(name))
    const relocated = (value: unknown): unknown =>
      mapDocumentReferences(value, (reference) => {
        const [, kind = '', name = '', rest = ''] = COMPONENT.exec(reference) ?? []
        return kind === '' ? reference : `#/components/${kind}/${names.get(`${kind}/${name}`) ?? name}${rest}`
      })
    for (const [kind, named] of kinds)
      for (const [name, value] of Object.entries(named))
        this.#components.ofKind(kind).add(names.get(`${kind}/${name}`) ?? name, relocated(value))
    // Requirements name their schemes without a reference.
    const renamed = (requirements: unknown): unknown =>
      Array.isArray(requirements)
        ? requirements.map((each: object) =>
            Object.fromEntries(
              Object.entries(each).map(([name, scopes]) => [
                names.get(`securitySchemes/${name}`) ?? name,
                scopes
              ])
            )
          )
        : undefined
    return Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).flatMap(([method, operation]): DocumentedOperation[] => {
        if (!METHODS.has(method) || !isObject(operation)) return []
        const wanted = renamed(operation['security'] ?? security)
        const node = {
          ...(relocated(operation) as Node),
          ...(wanted === undefined ? {} : { security: wanted })
        }
        return [{ path, method: method.toUpperCase(), node, shared: listOf(relocated(item['parameters'])) }]
      })
    )
  }
}

const METHODS: ReadonlySet<string> = new Set(['get', 'put', 'post', 'delete', 'options', 'head', 'patch'])

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : [])

/** Adds what a document says of an operation to what the gateway knows of it; the gateway decides who gets in. */
export function withDocumented(own: Node, { node, shared }: DocumentedOperation): Record<string, unknown> {
  const { servers: _servers, operationId: _id, responses = {}, parameters, description, ...rest } = node
  const { default: _default, ...refusals } = own['responses'] as Record<string, unknown>
  const texts = [description, own['description']].filter((text) => text !== undefined)
  const all = [...listOf(own['parameters']), ...withoutReplaced(shared, listOf(parameters))]
  const { requestBody: _body, ...gateway } = own
  return {
    ...rest,
    ...gateway,
    ...(texts.length === 0 ? {} : { description: texts.join('\n\n') }),
    ...(all.length === 0 ? {} : { parameters: all }),
    ...(rest['tags'] === undefined ? {} : { tags: rest['tags'] }),
    ...(rest['summary'] === undefined ? {} : { summary: rest['summary'] }),
    responses: { ...refusals, ...(responses as object) }
  }
}

/** Returns the parameters of a path and of one of its operations, which replaces those with the same place and name. */
function withoutReplaced(shared: readonly unknown[], own: readonly unknown[]): readonly unknown[] {
  const keyOf = (parameter: unknown): string =>
    isObject(parameter)
      ? String(parameter['$ref'] ?? `${String(parameter['in'])} ${String(parameter['name'])}`)
      : ''
  const replaced = new Set(own.map(keyOf))
  return [...shared.filter((parameter) => !replaced.has(keyOf(parameter))), ...own]
}
