import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    globalSetup: ['libs/testing/src/servers.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['{libs,services}/**/*.test.ts'],
          exclude: ['**/node_modules/**'],
          sequence: { groupOrder: 0 },
        },
      },
      // Each of these may be a whole fleet, with most of the connections that a PostgreSQL has: one at a time, after the parts.
      {
        extends: true,
        test: {
          name: 'fleets',
          include: ['test/**/*.test.ts'],
          exclude: ['**/node_modules/**'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
