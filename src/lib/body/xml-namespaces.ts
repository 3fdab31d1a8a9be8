import { FormatError } from './format-errors.ts'

const XML = 'http://www.w3.org/XML/1998/namespace'

/** Drops the prefixes of a document's names, and refuses a local name that belongs to two namespaces. */
export class Namespaces {
  readonly #bound = new Map<string, string>([['xml', XML]])
  /** What was bound before, innermost last. */
  readonly #before: (readonly [prefix: string, uri: string | undefined])[] = []
  readonly #elements = new NameTable('')
  readonly #attributes = new NameTable('@')

  /** How many bindings are in force; `leave` takes it. */
  get depth(): number {
    return this.#before.length
  }

  /** Binds a prefix, or the default namespace by an empty one, until `leave`. */
  bind(prefix: string, uri: string): void {
    this.#before.push([prefix, this.#bound.get(prefix)])
    this.#set(prefix, uri)
  }

  /** Undoes the bindings that were made since there were `depth` of them. */
  leave(depth: number): void {
    while (this.#before.length > depth) {
      const [prefix, uri] = this.#before.pop() ?? ['', undefined]
      this.#set(prefix, uri)
    }
  }

  /** Returns the key of an element; throws a FormatError if another namespace has it, too. */
  element(name: string): string {
    return this.#elements.found.get(name) ?? this.#elements.add(name, this.#bound, this.#bound.get('') ?? '')
  }

  /** Returns the key of an attribute; throws a FormatError if another namespace has it, too. */
  attribute(name: string): string {
    return this.#attributes.found.get(name) ?? this.#attributes.add(name, this.#bound, '')
  }

  /** Returns the key of an attribute that was seen under the bindings that are in force. */
  knownAttribute(name: string): string | undefined {
    return this.#attributes.found.get(name)
  }

  #set(prefix: string, uri: string | undefined): void {
    if (uri === undefined) this.#bound.delete(prefix)
    else this.#bound.set(prefix, uri)
    this.#elements.found.clear()
    this.#attributes.found.clear()
  }
}

class NameTable {
  /** The key of each name under the bindings that are in force. */
  readonly found = new Map<string, string>()
  readonly #mark: string
  /** The namespace of each local name in the whole document. */
  readonly #namespaces = new Map<string, string>()

  constructor(mark: string) {
    this.#mark = mark
  }

  add(name: string, bound: ReadonlyMap<string, string>, namespace: string): string {
    const colon = name.indexOf(':')
    if (colon === -1) return this.#take(name, name, namespace)
    const prefix = name.slice(0, colon)
    const local = name.slice(colon + 1)
    if (prefix === '' || local === '' || local.includes(':')) throw new FormatError('malformed XML: name')
    // A prefix that nothing declares is a namespace of its own.
    return this.#take(name, local, bound.get(prefix) ?? `${prefix}:`)
  }

  #take(name: string, local: string, namespace: string): string {
    const other = this.#namespaces.get(local)
    if (other === undefined) this.#namespaces.set(local, namespace)
    else if (other !== namespace) throw new FormatError('two namespaces with one local name')
    const key = `${this.#mark}${local}`
    this.found.set(name, key)
    return key
  }
}
