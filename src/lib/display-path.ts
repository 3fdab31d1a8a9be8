import { relative } from 'node:path'

/** Returns the name of a file in messages: relative if it is below the working directory. */
export const displayPath = (path: string): string => {
  const near = relative(process.cwd(), path)
  return near.startsWith('..') ? path : near || '.'
}
