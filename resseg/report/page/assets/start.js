"use strict";
/* Last of all scripts. */
Page.start();
