import { deepFreeze, define, isObject, type OptionFault } from '../schema.ts'
import { TemplateError, type TemplatePart, templateParts } from '../template-parts.ts'
import { isRawNumber, ProvenJson, parseJson, stringifyJson } from './json.ts'

/** Finds the value of a reference; undefined where there is none. A ProvenJson is copied as it came. */
export type Resolve = (reference: string) => unknown

type Node =
  | { readonly kind: 'fixed'; readonly value: unknown; readonly json: string }
  | { readonly kind: 'reference'; readonly reference: string }
  | { readonly kind: 'text'; readonly parts: readonly TemplatePart[] }
  | { readonly kind: 'list'; readonly items: readonly Node[] }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [key: string, value: Node])[] }

/** JSON with `{references}` in its texts, compiled once at boot. */
export interface JsonTemplate {
  /** What it refers to, each once, in order. */
  readonly references: readonly string[]
  readonly root: Node
}

/**
 * Compiles a JSON value whose texts may have `{references}` in them; throws a TemplateError. A text that is only one
 * reference takes the value with its type; inside other text stand strings, numbers and booleans. A text with a missing
 * value is missing itself: an object has no such key, a list has null there. Keys are no templates.
 */
export function jsonTemplate(value: unknown): JsonTemplate {
  const references = new Set<string>()
  return { root: compile(value, references), references: [...references] }
}

/** Tells what is wrong with a JSON template, each at its path. */
export function jsonTemplateFaults(value: unknown, path: OptionFault['path']): OptionFault[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => jsonTemplateFaults(item, [...path, i]))
  if (isObject(value))
    return Object.entries(value).flatMap(([key, inner]) => jsonTemplateFaults(inner, [...path, key]))
  try {
    compile(value, new Set())
    return []
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
}

function compile(value: unknown, references: Set<string>): Node {
  if (typeof value === 'string') return compileText(value, references)
  if (Array.isArray(value)) {
    const items = value.map((item) => compile(item, references))
    return items.every(isFixed) ? fixed(items.map((item) => item.value)) : { kind: 'list', items }
  }
  if (!isObject(value)) return fixed(value)
  const entries = Object.keys(value).map((key) => [key, compile(value[key], references)] as const)
  const made = {}
  for (const [key, node] of entries) {
    if (!isFixed(node)) return { kind: 'object', entries }
    define(made, key, node.value)
  }
  return fixed(made)
}

function compileText(text: string, references: Set<string>): Node {
  const parts = templateParts(text)
  for (const part of parts) if (typeof part !== 'string') references.add(part.reference)
  const [only = ''] = parts
  if (parts.length > 1) return { kind: 'text', parts }
  return typeof only === 'string' ? fixed(only) : { kind: 'reference', ...only }
}

const fixed = (value: unknown): Node & { kind: 'fixed' } => ({
  kind: 'fixed',
  value: deepFreeze(value),
  json: stringifyJson(value)
})

const isFixed = (node: Node): node is Node & { kind: 'fixed' } => node.kind === 'fixed'

/** Fills in the values of a template; undefined where all of it is missing. */
export function fillJson({ root }: JsonTemplate, resolve: Resolve): unknown {
  return filled(root, resolve)
}

function filled(node: Node, resolve: Resolve): unknown {
  if (node.kind === 'fixed') return node.value
  if (node.kind === 'list') return node.items.map((item) => filled(item, resolve) ?? null)
  if (node.kind === 'object') {
    const made = {}
    for (const [key, inner] of node.entries) {
      const value = filled(inner, resolve)
      if (value !== undefined) define(made, key, value)
    }
    return made
  }
  const found = resolved(node, resolve)
  return found instanceof ProvenJson ? parseJson(found.text) : found
}

function resolved(node: Node & { kind: 'reference' | 'text' }, resolve: Resolve): unknown {
  if (node.kind === 'reference') return resolve(node.reference)
  let made = ''
  for (const part of node.parts) {
    const text = typeof part === 'string' ? part : textOf(resolve(part.reference))
    if (text === undefined) return undefined
    made += text
  }
  return made
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value instanceof ProvenJson) return textOf(parseJson(value.text))
  return isRawNumber(value) ? value.rawJSON : undefined
}

/** Writes a template with its values as JSON, a ProvenJson as the bytes that it is; undefined where all of it is missing. */
export function writeJson({ root }: JsonTemplate, resolve: Resolve): Buffer[] | undefined {
  const out: Output = { chunks: [], text: '' }
  if (!write(root, resolve, out)) return undefined
  flush(out)
  return out.chunks
}

interface Output {
  readonly chunks: Buffer[]
  /** What is not in a chunk yet. */
  text: string
}

function flush(out: Output): void {
  if (out.text !== '') out.chunks.push(Buffer.from(out.text))
  out.text = ''
}

/** Writes a node; false where it is missing, and then nothing is written. */
function write(node: Node, resolve: Resolve, out: Output): boolean {
  if (node.kind === 'list') writeList(node.items, resolve, out)
  else if (node.kind === 'object') writeObject(node.entries, resolve, out)
  else if (node.kind === 'fixed') out.text += node.json
  else {
    const found = resolved(node, resolve)
    if (found === undefined) return false
    if (found instanceof ProvenJson) {
      flush(out)
      out.chunks.push(found.bytes)
    } else out.text += stringifyJson(found)
  }
  return true
}

function writeList(items: readonly Node[], resolve: Resolve, out: Output): void {
  out.text += '['
  for (const [i, item] of items.entries()) {
    if (i > 0) out.text += ','
    if (!write(item, resolve, out)) out.text += 'null'
  }
  out.text += ']'
}

function writeObject(entries: (Node & { kind: 'object' })['entries'], resolve: Resolve, out: Output): void {
  out.text += '{'
  let comma = ''
  for (const [key, inner] of entries) {
    const before = out.text
    out.text += `${comma}${JSON.stringify(key)}:`
    if (write(inner, resolve, out)) comma = ','
    else out.text = before
  }
  out.text += '}'
}
