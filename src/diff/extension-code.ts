import { catalog } from '../gateway/catalog.ts'
import type { Sides } from './compared-side.ts'

const BUILTIN: ReadonlySet<object> = new Set([...catalog.concerns, ...catalog.targets])

/** Returns whether a concern or a target is one of the gateway's own. */
export const isBuiltinModule = (module: object): boolean => BUILTIN.has(module)

/** Returns the keys of extensions whose file has changed. */
export function changedExtensions({ before, after }: Sides): ReadonlySet<string> {
  const [old, next] = [before.plan.catalog.extensionFiles, after.plan.catalog.extensionFiles]
  return new Set(
    [...(next ?? [])].flatMap(([key, file]) => {
      const former = old?.get(key)
      return former === undefined || before.fileText(former) === after.fileText(file) ? [] : [key]
    })
  )
}
