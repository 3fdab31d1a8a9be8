import { realpathSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { filesInside, isFolderInside } from '../files-inside.ts'
import { errorAt, readIncludedText, type SourceText } from '../source-text.ts'
import type { Directive } from './parse.ts'

// Files of nginx and its packages without a gate in them.
const HARMLESS =
  /(?:^|\/)(?:mime\.types|fastcgi_params|fastcgi\.conf|uwsgi_params|scgi_params|proxy_params|options-ssl-nginx\.conf|ssl[\w-]*\.conf|modules-enabled\/\*\.conf|modules\/\*\.conf)$/

const MAX_FILES = 200
const MAX_BYTES = 1024 * 1024
const MAX_DEPTH = 8

/** The name of an `include` inside of a server that can't be read: it may have gates. */
export const MISSING_INCLUDE = 'include of a file that is not in the folder:'

/** Puts the directives of included files in place of each `include`; only files in the folder of the source are read. */
export function withIncludes(
  directives: readonly Directive[],
  source: SourceText,
  parse: (source: SourceText) => Directive[]
): Directive[] {
  const folder = realpathSync(source.folder)
  const read = { files: 0, bytes: 0 }

  function expand(list: readonly Directive[], depth: number, isInServer: boolean): Directive[] {
    return list.flatMap((each): Directive[] => {
      if (each.name !== 'include') {
        const { block, ...directive } = each
        return [
          block === undefined
            ? directive
            : { ...directive, block: expand(block, depth, isInServer || each.name === 'server') }
        ]
      }
      const pattern = each.args[0] ?? ''
      if (HARMLESS.test(pattern)) return []
      if (depth >= MAX_DEPTH)
        throw errorAt(each, `expected at most ${MAX_DEPTH} files that include each other, got more`)
      const files = filesInside(withoutFolder(pattern), folder)
      // As nginx does: a pattern may match no file of a folder that is there.
      if (files.length === 0 && pattern.includes('*') && isFolderInside(withoutFolder(pattern), folder))
        return []
      if (files.length === 0) return [isInServer ? { ...each, name: MISSING_INCLUDE } : each]
      return files.flatMap((file) => expand(parseFile(file, each), depth + 1, isInServer))
    })
  }

  function parseFile(path: string, include: Directive): Directive[] {
    const file = join(dirname(source.file), relative(folder, path))
    const text = readIncludedText(path, file)
    read.files++
    read.bytes += text.length
    if (read.files > MAX_FILES || read.bytes > MAX_BYTES)
      throw errorAt(include, `expected at most ${MAX_FILES} included files of 1 MB together, got more`)
    return parse({ file, folder, text })
  }

  return expand(directives, 0, false)
}

// The folder of nginx was copied to where its config is.
const withoutFolder = (pattern: string): string => pattern.replace(/^\/etc\/nginx\//, '')
