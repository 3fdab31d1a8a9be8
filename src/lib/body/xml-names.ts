const START =
  'A-Z_a-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u02ff\\u0370-\\u037d\\u037f-\\u1fff\\u200c\\u200d\\u2070-\\u218f\\u2c00-\\u2fef\\u3001-\\ud7ff\\uf900-\\ufdcf\\ufdf0-\\ufffd\\u{10000}-\\u{effff}'
const PART = `[${START}][-.0-9\\u00b7\\u0300-\\u036f\\u203f\\u2040${START}]*`
const QUALIFIED_NAME = new RegExp(`^(?:${PART}:)?${PART}$`, 'u')

/** Returns whether a text is the name of an element or an attribute, with or without a prefix (Namespaces in XML 1.0 section 4). */
export const isXmlName = (name: string): boolean => QUALIFIED_NAME.test(name)

/** A tree of element names, with those that are always a list. */
export interface ListTree {
  readonly always: boolean
  readonly below: ReadonlyMap<string, ListTree>
  /** The names right below that are always a list. */
  readonly names: readonly string[]
}

/** Compiles dotted paths of elements, from the root element on, into a tree. */
export function compileLists(paths: readonly string[]): ListTree {
  const of = (parts: readonly (readonly string[])[]): ListTree => {
    const below = new Map<string, ListTree>()
    for (const name of new Set(parts.flatMap(([first]) => first ?? [])))
      below.set(name, of(parts.filter(([first]) => first === name).map(([, ...rest]) => rest)))
    return {
      always: parts.some(({ length }) => length === 0),
      below,
      names: [...below].flatMap(([name, { always }]) => (always ? [name] : []))
    }
  }
  return of(paths.map(partsOf))
}

/** Splits a dotted path into names; `\.` is a literal dot. */
export const partsOf = (path: string): string[] =>
  path.split(/(?<!\\)\./).map((part) => part.replaceAll('\\.', '.'))
