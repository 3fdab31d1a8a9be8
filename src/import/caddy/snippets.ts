import { readFileSync, realpathSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { filesInside } from '../files-inside.ts'
import { errorAt, type SourceText } from '../source-text.ts'
import { type Line, parseCaddyfile } from './parse.ts'

const MAX_IMPORTS = 500
const MAX_BYTES = 1024 * 1024
const MAX_DEPTH = 8

/** Puts the lines of snippets and files in place of each `import`; one that is not there stays, as a line without a translation. */
export function withImports(lines: readonly Line[], source: SourceText): Line[] {
  const snippets = new Map(
    lines.flatMap(({ words: [name = ''], block }) =>
      /^\(.+\)$/.test(name) && block !== undefined ? [[name.slice(1, -1), block] as const] : []
    )
  )
  const folder = realpathSync(source.folder)
  const read = { imports: 0, bytes: 0 }

  function expand(list: readonly Line[], depth: number): Line[] {
    return list.flatMap((line): Line[] => {
      const [name, target = '', ...args] = line.words
      if (/^\(.+\)$/.test(name ?? '')) return []
      if (name !== 'import')
        return [line.block === undefined ? line : { ...line, block: expand(line.block, depth) }]
      read.imports++
      if (read.imports > MAX_IMPORTS || depth >= MAX_DEPTH)
        throw errorAt(line, `expected at most ${MAX_IMPORTS} imports, ${MAX_DEPTH} in each other, got more`)
      const found = line.block === undefined ? (snippets.get(target) ?? fileLines(target, line)) : undefined
      return found === undefined ? [line] : expand(withArguments(found, args), depth + 1)
    })
  }

  function fileLines(pattern: string, line: Line): Line[] | undefined {
    const files = filesInside(pattern, folder)
    if (files.length === 0) return undefined
    return files.flatMap((file) => {
      const text = readFileSync(file, 'utf8').replaceAll('\r\n', '\n')
      read.bytes += text.length
      if (read.bytes > MAX_BYTES) throw errorAt(line, 'expected at most 1 MB of imported files, got more')
      return parseCaddyfile({ file: join(dirname(source.file), relative(folder, file)), folder, text })
    })
  }

  return expand(lines, 0)
}

function withArguments(lines: readonly Line[], args: readonly string[]): Line[] {
  return lines.map((line) => ({
    ...line,
    words: line.words.flatMap((word) =>
      word === '{args[:]}'
        ? [...args]
        : [
            word.replaceAll(
              /\{args(?:\[(\d+)\]|\.(\d+))\}/g,
              (whole, a?: string, b?: string) => args[Number(a ?? b)] ?? whole
            )
          ]
    ),
    ...(line.block === undefined ? {} : { block: withArguments(line.block, args) })
  }))
}
