import { rejects, tenant, withExtension } from './helpers.ts'

rejects('rejects invalid extensions', [
  {
    name: 'a missing file',
    config: '{ "extensions": [ { "module": "./nope.js" } ], "routes": [] }',
    faults: [
      'gateway.json:1:21 extensions[0].module: There is no file ./nope.js beside the config; files are relative to the config that names them'
    ]
  },
  {
    name: 'a missing package',
    config: '{ "extensions": [ { "module": "no-package-of-this-name" } ], "routes": [] }',
    faults: [/extensions\[0\]\.module: no-package-of-this-name does not load: Cannot find module/]
  },
  {
    name: 'a syntax error',
    config: withExtension('', 'export const = 1'),
    faults: [/^gateway\.json:1:21 extensions\[0\]\.module: \.\/tenant\.js does not load: \S+/]
  },
  {
    name: 'a module that throws',
    config: withExtension('', 'throw new Error("out of order")'),
    faults: [/extensions\[0\]\.module: \.\/tenant\.js does not load: out of order$/]
  },
  {
    name: 'missing exports',
    config: withExtension('', 'export const tenant = 1'),
    faults: [
      /\.\/tenant\.js is not an extension: it does not export key \(a name in camelCase\), options \(a schema\), default \(a Fastify plugin\)$/
    ]
  },
  {
    name: 'an invalid key',
    config: withExtension('', tenant.replace("'tenant'", "'te-nant'")),
    faults: [/is not an extension: it does not export key \(a name in camelCase\)$/]
  },
  {
    name: 'an invalid schema',
    config: withExtension('', tenant.replace("'integer'", "'whole'")),
    faults: [/\.\/tenant\.js is not an extension: its options are not a valid JSON Schema \(/]
  },
  {
    name: 'the key of a concern',
    config: withExtension('', tenant.replace("'tenant'", "'rateLimit'")),
    faults: [
      /expected a key of its own from \.\/tenant\.js, got "rateLimit", which is taken; export another "key"$/
    ]
  },
  {
    name: 'the key of a route option',
    config: withExtension('', tenant.replace("'tenant'", "'path'")),
    faults: [/expected a key of its own from \.\/tenant\.js, got "path"/]
  },
  {
    name: 'the same extension twice',
    config: {
      'gateway.json': `{ "extensions": [ { "module": "./tenant.js" }, { "module": "./tenant.js" } ], "routes": [] }`,
      'tenant.js': tenant
    },
    faults: [/extensions\[1\]\.module: expected a key of its own from \.\/tenant\.js, got "tenant"/]
  },
  {
    name: 'before an unknown concern',
    config: withExtension(', "before": "rateLimt"', tenant, '"tenant": { "known": 2 }, '),
    faults: [
      'gateway.json:1:46 extensions[0].before: expected a concern, got "rateLimt"; did you mean "rateLimit"?'
    ]
  },
  {
    name: 'after an unknown concern',
    config: withExtension(', "after": "0123456789"', tenant),
    faults: [/extensions\[0\]\.after: expected a concern, got "0123456789"; known here: errors, .*, auth, /]
  },
  {
    name: 'invalid options of a valid extension',
    config: withExtension(', "after": "auth"', tenant, '"tenant": { "knwn": 2 }, '),
    faults: ['gateway.json:2:15 tenant.knwn: Unknown option "knwn"; did you mean "known"?']
  },
  {
    name: 'an entry without a module',
    config: '{ "extensions": [ { "modul": "./tenant.js" } ], "routes": [] }',
    faults: [
      /^gateway\.json:1:19 extensions\[0\]: "module" is missing: /,
      'gateway.json:1:21 extensions[0].modul: Unknown option "modul"; did you mean "module"?'
    ]
  }
])
