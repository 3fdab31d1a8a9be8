import { existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { findCommit, findMergeBase } from './git-tree.ts'

/** The commit that the old config is taken from. */
export interface Base {
  /** The name of the old config for `loadSide`. */
  readonly name: string
  /** The revision that was asked for, and the one that it was compared with. */
  readonly revision: string
  readonly head: string
  /** The last commit that both have in common; undefined if there is none, so that the revision itself is taken. */
  readonly mergeBase: string | undefined
}

/** Finds the commit at which a change begins, as "git diff A...B" does; undefined for a name that is no revision. */
export async function findBase(name: string, newName: string): Promise<Base | undefined> {
  if (existsSync(name)) return undefined
  const folder = folderOf(newName)
  const { revision, rest } = partsOf(name)
  if ((await findCommit(revision, folder)) === undefined) return undefined
  const head = existsSync(newName) ? 'HEAD' : partsOf(newName).revision
  const mergeBase = (await findMergeBase([revision, head], folder))?.slice(0, SHOWN)
  return { name: `${mergeBase ?? revision}${rest}`, revision, head, mergeBase }
}

// Enough digits to name one commit of a repository.
const SHOWN = 16

/** Says which commit the old config is taken from. */
export const describeBase = ({ revision, head, mergeBase }: Base): string =>
  mergeBase === undefined
    ? `${revision} itself, which has no merge base with ${head}`
    : `${mergeBase}, the merge base of ${revision} and ${head}`

const partsOf = (name: string): { readonly revision: string; readonly rest: string } => {
  const [, revision = '', rest = ''] = /^([^:]*)(:.*)?$/s.exec(name) ?? []
  return { revision, rest }
}

function folderOf(newName: string): string {
  if (!existsSync(newName)) return process.cwd()
  return statSync(newName).isDirectory() ? resolve(newName) : dirname(resolve(newName))
}
