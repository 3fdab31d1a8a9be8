import { upgradeFromThreeToThreeOne } from '@scalar/openapi-upgrader/3.0-to-3.1'
import { pointerPart } from '../body/json-schema/subschemas.ts'
import { isObject } from '../schema.ts'
import type { OpenApiDocument } from './document.ts'
import { mapDocumentReferences } from './map-references.ts'

/** The paths and the components of an OpenAPI 3.1 document that refers to nothing outside of its components. */
export interface WholeDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** The security that its operations want by default. */
  readonly security: unknown
}

/** Reads a document with all that it refers to: files, and places that are no components, are put below `x-files`. */
export function wholeDocument(document: OpenApiDocument): WholeDocument {
  const files = new Map<string, { readonly name: string; content: unknown }>()
  const relocate =
    (uri: string) =>
    (reference: string): string => {
      const [path = '', fragment = ''] = reference.split('#')
      const target = path === '' ? uri : URL.parse(path, uri)?.href
      if (target === undefined || !target.startsWith('file:')) return reference
      if (target === document.uri && fragment.startsWith('/components/')) return `#${fragment}`
      return `#/components/x-files/${pointerPart(placeFile(target))}${fragment}`
    }
  const placeFile = (uri: string): string => {
    const known = files.get(uri)
    if (known !== undefined) return known.name
    const last = (uri.split('/').at(-1) ?? '').replaceAll(/[^\w.-]+/g, '-')
    const taken = new Set([...files.values()].map(({ name }) => name))
    let name = last
    for (let i = 2; taken.has(name); i++) name = `${last}-${i}`
    const file = { name, content: undefined as unknown }
    files.set(uri, file)
    file.content = mapDocumentReferences(document.file(uri), relocate(uri))
    return name
  }
  const { root, uri } = document
  const paths: Record<string, unknown> = {}
  for (const [path, written] of Object.entries(isObject(root['paths']) ? root['paths'] : {})) {
    const item = path.startsWith('/') ? document.follow(written) : undefined
    if (item !== undefined) paths[path] = mapDocumentReferences(item.node, relocate(item.uri))
  }
  const components = mapDocumentReferences(root['components'] ?? {}, relocate(uri)) as Record<string, unknown>
  if (files.size > 0)
    components['x-files'] = Object.fromEntries(
      [...files.values()].map(({ name, content }) => [name, content])
    )
  const whole = { openapi: String(root['openapi']), paths, components }
  // What it raises it changes in place; YAML may have one object in several places.
  const raised = document.isBefore31
    ? (upgradeFromThreeToThreeOne(JSON.parse(JSON.stringify(whole)) as typeof whole) as typeof whole)
    : whole
  return { ...(raised as unknown as WholeDocument), security: root['security'] }
}
