import { type Node, parseTree } from 'jsonc-parser'
import { onDemand } from '../lib/memoize.ts'
import type { Path, Place } from './fault.ts'

/** The places of a text by offset. */
export type PlaceAt = (offset: number) => Place

/** Returns a function that finds the place of the key at a path of a JSON text, or of the item of a list; of the nearest part outside where there is none. Only the text is kept, and parsed again when a place is asked for. */
export function jsonPlaces(file: string, text: string): (path: Path) => Place {
  const parsed = onDemand(() => ({
    tree: parseTree(text, [], { allowTrailingComma: true }),
    placeAt: placesIn(file, text)
  }))
  return (path) => {
    const { tree, placeAt } = parsed()
    return placeAt(offsetIn(tree, path))
  }
}

function offsetIn(root: Node | undefined, path: Path): number {
  let node = root
  let offset = node?.offset ?? 0
  for (const key of path) {
    const child =
      node?.type === 'array'
        ? node.children?.[Number(key)]
        : node?.children?.find(({ children }) => children?.[0]?.value === key)
    if (child === undefined) break
    offset = child.offset
    node = child.type === 'property' ? child.children?.[1] : child
  }
  return offset
}

/** Returns a function that finds the place of an offset. */
export function placesIn(file: string, text: string): PlaceAt {
  const starts = lineStarts(text)
  return (offset) => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return { file, line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}

/** Returns the offset of each line. */
function lineStarts(text: string): number[] {
  const starts = [0]
  for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return starts
}
