import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ConfigError } from '../../config/fault.ts'
import { readYaml } from '../../config/read-yaml.ts'
import { isObject } from '../../lib/schema.ts'
import { filesInside } from '../files-inside.ts'
import { checkDepth, errorAt, ImportError, readIncludedText, type SourceText } from '../source-text.ts'
import { Node } from './node.ts'

/** Reads YAML, in which a template may insert variables of the environment. */
export function readNode(source: SourceText): Node {
  checkDepth(source)
  const { file, folder, text } = source
  const plain = text.replaceAll(/\{\{\s*env\s+["'`](\w+)["'`]\s*\}\}/g, '$${$1}')
  const template = /\{\{.*?\}\}/.exec(plain)
  if (template !== null)
    throw errorAt(
      { file, line: plain.slice(0, template.index).split('\n').length },
      `expected YAML without templates but {{ env "NAME" }}, got ${template[0].slice(0, 60)}`
    )
  try {
    const { value, at } = readYaml(`${folder}/source.yaml`, file, plain)
    return new Node(value, (path) => ({ file, line: at(path).line ?? 1 }))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [fault] = error.faults
    throw fault === undefined ? error : new ImportError(`${file}:${fault.line ?? 1}: ${fault.message}`)
  }
}

// What a router refers to by its name.
const KINDS = [
  ['http', 'middlewares'],
  ['http', 'services'],
  ['http', 'serversTransports'],
  ['tls', 'options']
] as const

const MAX_FILES = 50
const MAX_BYTES = 1024 * 1024

/** Returns a config with what it names of the other YAML files in its folder, which Traefik reads as one config. */
export function withSiblings(own: Node, source: SourceText): Node {
  if (!isObject(own.value)) return own
  const value: Record<string, unknown> = structuredClone(own.value)
  const origins = new Map<string, Node>()
  const wanted = [...namesIn(value)]
  const siblings = siblingsOf(source)
  // A chain in one file may name a middleware in another one.
  for (const name of wanted)
    for (const sibling of siblings)
      for (const [part, kind] of KINDS) {
        const options = sibling.get(part, kind, name)
        if (!options.exists() || new Node(value, () => own.line).get(part, kind, name).exists()) continue
        put(value, [part, kind, name], options.value)
        origins.set(pathKey([part, kind, name]), sibling)
        wanted.push(...namesIn(options.value))
      }
  return new Node(value, (path) => (origins.get(pathKey(path.slice(0, 3))) ?? own).lineAt(path))
}

const REFERENCES: ReadonlySet<string> = new Set([
  'middlewares',
  'service',
  'services',
  'fallback',
  'serverstransport',
  'options',
  'name'
])

/** Returns the names that a part of a config refers to, without those of their providers. */
function namesIn(value: unknown, isReference = false): string[] {
  if (typeof value === 'string')
    return isReference ? value.split(',').map((name) => name.trim().replace(/@\w+$/, '')) : []
  if (Array.isArray(value)) return value.flatMap((item) => namesIn(item, isReference))
  return isObject(value)
    ? Object.entries(value).flatMap(([key, inner]) => namesIn(inner, REFERENCES.has(key.toLowerCase())))
    : []
}

const pathKey = (path: readonly (string | number)[]): string => path.join('\0').toLowerCase()

function put(
  value: Record<string, unknown>,
  [part = '', kind = '', name = '']: string[],
  options: unknown
): void {
  const inner = (outer: Record<string, unknown>, key: string): Record<string, unknown> => {
    const found = Object.keys(outer).find((each) => each.toLowerCase() === key.toLowerCase()) ?? key
    if (!isObject(outer[found])) outer[found] = {}
    return outer[found] as Record<string, unknown>
  }
  inner(inner(value, part), kind)[name] = options
}

/** Reads the other YAML files in the folder of a source; those that can't be read are none of Traefik's. */
function siblingsOf({ file, folder }: SourceText): Node[] {
  const names = readdirSync(folder)
    .filter((name) => /\.ya?ml$/i.test(name) && name !== basename(file))
    .toSorted()
    .slice(0, MAX_FILES)
  let left = MAX_BYTES
  return names.flatMap((name): Node[] => {
    const [path] = filesInside(name, folder)
    const size = path === undefined ? left + 1 : statSync(path).size
    if (path === undefined || size > left) return []
    left -= size
    const own = join(dirname(file), name)
    try {
      const node = readNode({ file: own, folder, text: readIncludedText(path, own) })
      return node.get('http').exists() || node.get('tls').exists() ? [node] : []
    } catch (error) {
      if (error instanceof ImportError) return []
      throw error
    }
  })
}
