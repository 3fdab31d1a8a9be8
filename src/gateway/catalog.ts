import { concerns } from '../../plugins/index.ts'
import { builtin, targets } from '../../routes/index.ts'
import type { Catalog } from '../config/catalog.ts'

/** All words that a config can say without extensions: the only place that knows them by name. */
export const catalog: Catalog = { concerns, targets, builtin }
